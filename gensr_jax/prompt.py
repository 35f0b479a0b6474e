"""Prompts as token ids: a list of text, slots for soft tokens, and the query.

A prompt depends on the task and the query alone, so all prompts of a dataset are constants.

Shapes: [Q] queries; row 0 is the prompt of recommendation, row Q + 1 that of a search without its
        query  [L] prompt length
Source: the meaning of the released template; wording and layout ours, because the released code
cuts its template in the wrong places and never inserts the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import NamedTuple

import numpy as np

from common.data.texts import TokenLists
from common.errors import InputError
from gensr_jax.templates import REC, SEARCH
from gensr_jax.tokens import pad_lists
from gensr_jax.vocabulary import Vocabulary

SLOTS = ("hist_cf", "hist_sem", "cand_cf", "cand_sem")  # slot i holds soft token i


@dataclass(frozen=True)
class Text:
    """Words that stand in every prompt. They are split into tokens by themselves."""

    text: str


@dataclass(frozen=True)
class Slot:
    """The place of a soft token, an index of `SLOTS`."""

    index: int


@dataclass(frozen=True)
class Query:
    """The place of the query; nothing stands there in recommendation."""


Piece = Text | Slot | Query


class Layout(NamedTuple):
    """The pieces of both tasks' prompts."""

    rec: tuple[Piece, ...]
    search: tuple[Piece, ...]

    def texts(self) -> list[str]:
        """The texts of all pieces, for a vocabulary that is made here."""
        return [piece.text for piece in (*self.rec, *self.search) if isinstance(piece, Text)]


class Prompts(NamedTuple):
    """The prompts of a dataset. Row 0 is that of recommendation, row q that of query q.

    The last row is a search without its query, for asking what a query is worth.
    """

    tok: np.ndarray  # int32 [Q + 2, L] token ids, 0 at slots and pads
    slot: np.ndarray  # int8 [Q + 2, L]: -1 text or pad, else an index of `SLOTS`
    mask: np.ndarray  # bool [Q + 2, L]: False at pads
    cut: int  # queries with more than `query_length` tokens
    empty: int  # queries without a token


def make_layout(
    rec: str = REC, search: str = SEARCH, noun: str = "item", views: Sequence[str] = ("cf", "sem")
) -> Layout:
    """The layout of two templates, in which {hist_cf}, {query} and so on mark the places.

    noun:  what {noun} stands for, a word for the dataset's items: "book", "product"
    views: those that are on; the soft tokens of another one are empty
    Raises InputError for an unknown mark, a slot that stands twice, a search without the query,
    and a template without the history or the candidate of any view, which could not rank.
    """
    layout = Layout(
        parse_template(rec, noun, "config.text.rec"),
        parse_template(search, noun, "config.text.search"),
    )
    if Query() in layout.rec and layout.rec != layout.search:
        raise InputError("config.text.rec: has {query}, but recommendation has none; remove it")
    if Query() not in layout.search:
        raise InputError("config.text.search: lacks {query}; put it where the query is to stand")
    for task, pieces in layout._asdict().items():
        for part, what in (("hist", "history"), ("cand", "candidate")):
            slots = [f"{part}_{view}" for view in views]
            if not any(Slot(SLOTS.index(slot)) in pieces for slot in slots):
                either = " or ".join(f"{{{slot}}}" for slot in slots)
                raise InputError(
                    f"config.text.{task}: lacks {either}; put it where the {what} is to stand"
                )
    return layout


def parse_template(template: str, noun: str, where: str) -> tuple[Piece, ...]:
    """The pieces of a template. `where` is the config key that an error names."""
    filled = template.replace("{noun}", noun)
    pieces: list[Piece] = []
    try:
        parsed = list(Formatter().parse(filled))
    except ValueError as error:
        raise InputError(f"{where}: is no template ({error}); close every {{mark}}") from error
    for text, mark, _, _ in parsed:
        if text.strip():
            pieces.append(Text(text))
        if mark is None:
            continue
        if mark != "query" and mark not in SLOTS:
            known = ", ".join(f"{{{name}}}" for name in (*SLOTS, "query", "noun"))
            raise InputError(f"{where}: has the unknown mark {{{mark}}}; the marks are {known}")
        piece = Query() if mark == "query" else Slot(SLOTS.index(mark))
        if piece in pieces:
            raise InputError(f"{where}: has {{{mark}}} twice; leave one")
        pieces.append(piece)
    return tuple(pieces)


def build_prompts(
    layout: Layout,
    vocabulary: Vocabulary,
    queries: TokenLists,
    query_length: int = 32,
    multiple: int = 8,
) -> Prompts:
    """The prompts of a layout for all queries, an end token last, pads behind it.

    queries: token ids of queries 1, 2, ...; more than query_length of them are cut off
    L is the smallest multiple of `multiple` that holds the longest prompt.
    """
    lengths = np.append(np.minimum(queries.lengths, query_length), 0)
    words = np.pad(pad_lists(queries, query_length), ((0, 1), (0, 0)))
    rec = _assemble(layout.rec, vocabulary, np.zeros((1, 0), np.int32))
    groups = {
        int(n): _assemble(layout.search, vocabulary, words[lengths == n, :n])
        for n in np.unique(lengths)
    }
    longest = max(tok.shape[1] for tok, _ in (rec, *groups.values()))
    shape = (len(lengths) + 1, round_up(longest, multiple))
    tok, slot = np.zeros(shape, np.int32), np.full(shape, -1, np.int8)
    mask = np.zeros(shape, np.bool_)
    places = [np.zeros(1, np.int64), *(1 + np.flatnonzero(lengths == n) for n in groups)]
    for rows, (ids, slots) in zip(places, (rec, *groups.values()), strict=True):
        end = ids.shape[1]
        tok[rows, :end], slot[rows, :end], mask[rows, :end] = ids, slots, True
    return Prompts(
        tok=tok,
        slot=slot,
        mask=mask,
        cut=int((queries.lengths > query_length).sum()),
        empty=int((queries.lengths == 0).sum()),
    )


def measure_rec(mask: np.ndarray, multiple: int = 8) -> int:
    """The length of recommendation's prompt, as `build_prompts` rounds it, at most L.

    mask: of `Prompts`
    """
    return min(round_up(int(np.flatnonzero(mask[0])[-1]) + 1, multiple), mask.shape[1])


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is not less than `length`."""
    return -(-length // multiple) * multiple


def _assemble(
    pieces: Sequence[Piece], vocabulary: Vocabulary, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The prompts of queries [n, k] of one length: token ids [n, l] and slots [l], end included."""
    ids, slots = [], []
    for piece in pieces:
        if isinstance(piece, Query):
            part = queries
        elif isinstance(piece, Slot):
            part = np.zeros((1, 1), np.int32)
        else:
            part = np.array([vocabulary.encode(piece.text)], np.int32)
        ids.append(np.broadcast_to(part, (len(queries), part.shape[1])))
        slots += [piece.index if isinstance(piece, Slot) else -1] * part.shape[1]
    ids.append(np.full((len(queries), 1), vocabulary.eos, np.int32))
    return np.concatenate(ids, axis=1), np.array([*slots, -1], np.int8)


def describe_prompt(prompts: Prompts, row: int, vocabulary: Vocabulary) -> str:
    """The prompt of a row as text, slots in brackets: "... items: [hist_cf] . The ...".

    The end token is left out; pads between texts show as "[pad x 3]".
    """
    last = np.flatnonzero(prompts.mask[row])[-1] + 1
    shown: list[str] = []
    run: list[int] = []
    pads = 0
    for ids, slot, real in zip(
        prompts.tok[row, :last], prompts.slot[row, :last], prompts.mask[row, :last], strict=True
    ):
        text = real and slot < 0
        if run and not text:
            shown.append(vocabulary.decode(run))
            run = []
        if pads and real:
            shown.append(f"[pad x {pads}]")
            pads = 0
        if slot >= 0:
            shown.append(f"[{SLOTS[slot]}]")
        elif not real:
            pads += 1
        elif ids != vocabulary.eos:
            run.append(int(ids))
    if run:
        shown.append(vocabulary.decode(run))
    return " ".join(shown)
