"""Wording of the prompts: ours, with the meaning of the released template.

{noun} is a word for an item; the other marks are the soft tokens and the query.
"""

from __future__ import annotations

REC = (
    "Question: A user liked the following {noun}s: {hist_cf}. The semantic features of these "
    "{noun}s are: {hist_sem}. Using all this information, predict whether the user would like the "
    "{noun} {cand_cf} with the semantic feature {cand_sem}? Answer Yes or No. Answer:"
)
SEARCH = REC.replace("{cand_sem}?", "{cand_sem} for the query: {query}?")
