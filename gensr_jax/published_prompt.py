"""Prompts as the released code of GenSR makes them, its faults included, for comparison.

The template is cut at four marks into five texts, each padded to a width of its own, so pads stand
inside the row. The third text starts behind the candidate's first mark and runs to the end, later
marks included as words; the sentence before that mark is lost. The mark of the query is never
filled, and there is no end token.
Source: computation of the released code; the wording of a template is the configuration's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from gensr_jax.prompt import SLOTS, Prompts
from gensr_jax.vocabulary import Vocabulary

MARKS = ("<TitleList>", "<FeatureList>", "<TargetTitle>", "<TargetItemID>")
CAPS = (512, 512, 512, 32, 32)  # tokens of each text at the most
QUERY = "<Query>"


def mark_template(template: str) -> str:
    """A template of ours, as "{hist_cf} ... {query}?", with the released marks in its places."""
    for name, mark in zip((*SLOTS, "query"), (*MARKS, QUERY), strict=True):
        template = template.replace(f"{{{name}}}", mark)
    return template


class Segments(NamedTuple):
    """The five texts of one task's prompt; soft token i stands behind text i."""

    before_titles: str
    before_features: str
    after_target: str  # (fault) all that follows the third mark
    before_id: str
    after_id: str

    @classmethod
    def cut(cls, template: str, where: str) -> Segments:
        """Cuts a template as the released code does. `where` is the config key of errors."""
        places = [template.find(mark) for mark in MARKS]
        for mark, place in zip(MARKS, places, strict=True):
            if place < 0 or template.count(mark) > 1:
                raise InputError(f"{where}: needs the mark {mark} once; put it there")
        if places != sorted(places):
            raise InputError(f"{where}: has its marks out of order; use {' ... '.join(MARKS)}")
        titles, features, _, item = places
        behind = [place + len(mark) for place, mark in zip(places, MARKS, strict=True)]
        return cls(
            template[:titles],
            template[behind[0] : features],
            template[behind[2] :],
            template[behind[2] : item],
            template[behind[3] :],
        )


def build_published_prompts(
    vocabulary: Vocabulary,
    n_queries: int,
    *,
    rec: str,
    search: str,
    noun: str = "item",
    widths: Sequence[int] | None = None,
) -> Prompts:
    """The released prompts: the same for every query, [n_queries + 2, sum of widths + 4].

    rec, search: the templates with the four marks (`mark_template`), {noun} for the word `noun`
    widths: of the five texts in tokens, pads included; None = the longest of both tasks, as in a
            batch of both. Scores of the released model depend on them.
    Raises InputError for a template without its marks, or for widths that are not five numbers.
    """
    if widths is not None and (len(widths) != len(CAPS) or min(widths) < 0):
        raise InputError(
            f"config.text.widths: is {list(widths)}; give {len(CAPS)} widths in tokens"
        )
    templates = {"config.text.rec": rec, "config.text.search": search}
    texts = [
        [vocabulary.encode(text)[:cap] for text, cap in zip(segments, CAPS, strict=True)]
        for where, template in templates.items()
        for segments in [Segments.cut(template.replace("{noun}", noun), where)]
    ]
    if widths is None:
        widths = [max(map(len, pair)) for pair in zip(*texts, strict=True)]
    rows = np.r_[0, np.ones(n_queries + 1, np.int64)]  # of the two prompts
    prompts = [_lay(ids, widths) for ids in texts]
    tok, slot, mask = (np.stack(part)[rows] for part in zip(*prompts, strict=True))
    return Prompts(tok=tok, slot=slot, mask=mask, cut=0, empty=0)


def _lay(
    texts: Sequence[Sequence[int]], widths: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids, slots and mask of one prompt, each [L]."""
    tok: list[int] = []
    slot: list[int] = []
    mask: list[bool] = []
    for i, (ids, width) in enumerate(zip(texts, widths, strict=True)):
        kept = list(ids[:width])
        pads = width - len(kept)
        tok += [*kept, *[0] * pads]
        slot += [-1] * width
        mask += [*[True] * len(kept), *[False] * pads]
        if i < len(texts) - 1:
            tok, slot, mask = [*tok, 0], [*slot, i], [*mask, True]
    return np.array(tok, np.int32), np.array(slot, np.int8), np.array(mask, np.bool_)
