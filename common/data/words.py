"""The words of a text, for queries, titles and BM25: one rule for all scripts.

A word is a run of letters, marks, digits and underscores, without case. Scripts that are written
without blanks have no such runs: Chinese, Japanese, Thai, Lao, Khmer, Burmese. There, without a
dictionary, the words are the single characters (with the marks on them) and the overlapping pairs
of neighbours: a character alone finds the texts that have it, and a pair says in which order.
Korean has blanks and is read by them. ASCII texts give what `re`'s \\w+ gives.

Source: ours; characters and pairs as Lucene's CJKBigramFilter with `outputUnigrams`, which knows
Chinese, Japanese and Korean only. Scripts, marks and characters are Unicode's (`regex`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby, pairwise

import regex

_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_WORD = regex.compile(r"(?V1)[[\w\p{N}]--\p{M}][\w\p{N}]*")
# Line_Break=SA: the scripts of South East Asia whose words only a dictionary can tell apart.
_NO_BLANKS = r"\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{Line_Break=SA}"
_PART = regex.compile(rf"((?:[{_NO_BLANKS}]\p{{M}}*)+)|[^{_NO_BLANKS}]+")
_CHARACTER = regex.compile(r"\X")
# Invisible: joiners, soft hyphens, variation selectors. U+200B is not, it parts words.
_INVISIBLE = regex.compile(r"(?V1)[\p{Default_Ignorable_Code_Point}--\u200b]")


def fold_text(text: str) -> str:
    """A text without what makes no difference: case, width, ligatures, invisible characters.

    That is NFKC and Unicode's case folding. Superscripts and fractions stay: NFKC would write
    "Olay™" as "olaytm" and "1½" as "11⁄2".
    """
    if text.isascii():
        return text.lower()
    runs = groupby(_INVISIBLE.sub("", text), _is_raised)
    return "".join("".join(run) if raised else _fold("".join(run)) for raised, run in runs)


def fold_query(text: str) -> str:
    """The text under which a query is stored: `fold_text` with single blanks, never empty."""
    return " ".join(fold_text(text).split()) or text


def find_words(text: str) -> list[str]:
    """The words of a text in their order, repeated words each time; empty without a word."""
    text = fold_text(text)
    if text.isascii():
        return _ASCII_WORD.findall(text)
    words: list[str] = []
    for run in _WORD.findall(text):
        for part in _PART.finditer(run):
            words += _pair_up(part[1]) if part[1] else [part[0]]
    return words


def _pair_up(run: str) -> list[str]:
    """Each character of a run and, between two of them, both: "ABC" is A, AB, B, BC, C."""
    single = _CHARACTER.findall(run)
    words = single[:1]
    for left, right in pairwise(single):
        words += [left + right, right]
    return words


def _fold(text: str) -> str:
    # Folding can leave a form that NFKC writes otherwise, so it comes before and after.
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)


@lru_cache(maxsize=1 << 16)
def _is_raised(character: str) -> bool:
    return unicodedata.decomposition(character).startswith(("<super>", "<sub>", "<fraction>"))
