"""Queries for data that has none: what a shopper may have typed, made from category paths.

Each step is a pure function. A purchase may also become a search (mode "copy", as published) or
become a search instead (mode "move": the tasks share no event; use it for claims about learning
both jointly).
Source: van Gysel et al. 2016 and Ai et al. 2017 (category paths as queries); the random choices,
made by counter-based draws, and mode "move" are ours.

Shapes: [N] items  [P] purchases
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from common.data.hashing import QUERY, SEARCH_SHARE, draw_uniform
from common.errors import InputError

STOPWORDS = frozenset(
    ["a", "an", "and", "the", "of", "for", "in", "on", "to", "with", "by", "or", "s"]
)
MODES = ("copy", "move")
_POSSESSIVE = re.compile(r"'s\b", re.IGNORECASE)
_NOT_LETTER = re.compile(r"[^A-Za-z ]")
_NOT_LETTER_OR_DIGIT = re.compile(r"[^A-Za-z0-9 ]")


@dataclass(frozen=True)
class Recipe:
    """How pseudo-queries are made."""

    letters_only: bool = True  # False keeps digits, see `clean_text`
    drop_root: bool = False  # leaves out the first level, a word that every query would have
    # Below 1, users' cuts move with the draws: every purchase a search is the comparable choice.
    search_share: float = 1.0
    mode: str = "copy"

    def __post_init__(self) -> None:
        if not 0 <= self.search_share <= 1:
            raise InputError(f"search_share {self.search_share}: out of range; use 0 <= share <= 1")
        if self.mode not in MODES:
            raise InputError(f"query_mode {self.mode!r}: unknown; use one of {', '.join(MODES)}")

    def describe(self) -> dict[str, Any]:
        """The settings for the manifest."""
        return asdict(self)


def join_levels(path: Sequence[str], drop_root: bool = False) -> str:
    """The level names of a category path in one text; empty for a path of one level."""
    if len(path) < 2:
        return ""
    return " ".join(path[1:] if drop_root else path)


def clean_text(text: str, letters_only: bool = True) -> str:
    """Lower-case ASCII letters and blanks; other characters vanish, so "anti-aging" fuses.

    letters_only: False keeps digits and splits at other characters, after dropping each 's.
    """
    text = " ".join(html.unescape(text).split())
    if letters_only:
        text = _NOT_LETTER.sub("", text)
    else:
        text = _NOT_LETTER_OR_DIGIT.sub(" ", _POSSESSIVE.sub("", text))
    return text.lower()


def drop_stopwords(words: Sequence[str]) -> list[str]:
    """The words that say something."""
    return [word for word in words if word not in STOPWORDS]


def keep_last(words: Sequence[str]) -> list[str]:
    """Each word once, where it occurs last."""
    return list(dict.fromkeys(reversed(words)))[::-1]


def make_query(path: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """The words of the query of one category path; none if nothing is left of it."""
    text = clean_text(join_levels(path, recipe.drop_root), recipe.letters_only)
    return tuple(keep_last(drop_stopwords(text.split())))


def make_item_queries(
    paths: Sequence[Sequence[str]], recipe: Recipe
) -> tuple[tuple[str, ...], ...]:
    """The distinct queries of one item, sorted by their text."""
    queries = {" ".join(query): query for path in paths if (query := make_query(path, recipe))}
    return tuple(query for _, query in sorted(queries.items()))


def pick_queries(n_queries: np.ndarray, seed: int) -> np.ndarray:
    """Which of an item's queries each purchase gets.

    n_queries: int [P], how many the item of each purchase has; purchases in table order, so that
               the draw belongs to the row number
    Returns int64 [P], from 0; -1 where there is none.
    """
    u = draw_uniform(seed, QUERY, np.arange(len(n_queries)), 0)[: len(n_queries)]
    return np.where(n_queries > 0, np.floor(u * n_queries).astype(np.int64), -1)


def choose_searches(n_purchases: int, share: float, seed: int) -> np.ndarray:
    """bool [P]: which purchases, in table order, become searches."""
    u = draw_uniform(seed, SEARCH_SHARE, np.arange(n_purchases), 0)[:n_purchases]
    return u < share


class Purchases(NamedTuple):
    """What becomes of the purchases; indices are rows of the purchase table."""

    rec: np.ndarray  # int64, purchases that stay in rec, ascending
    search: np.ndarray  # int64, purchases that are searches, ascending
    query: np.ndarray  # int64, for each search which of its item's queries


def split_purchases(n_queries: np.ndarray, recipe: Recipe, seed: int) -> Purchases:
    """Applies the recipe to purchases in table order.

    n_queries: int [P], how many queries the item of each purchase has
    """
    picked = pick_queries(n_queries, seed)
    searched = (picked >= 0) & choose_searches(len(n_queries), recipe.search_share, seed)
    stays = ~searched if recipe.mode == "move" else np.ones(len(n_queries), bool)
    return Purchases(np.flatnonzero(stays), np.flatnonzero(searched), picked[searched])
