"""The titles of all items as token ids: constants that the semantic view gathers from.

Shapes: [I] items; row 0 is the padding item
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.dataset import Dataset
from gensr_jax.tokens import pad_lists, read_title_ids
from gensr_jax.vocabulary import Vocabulary


class Titles(NamedTuple):
    """Token ids of every item, without an end token, zeros at the ends of the rows."""

    head: np.ndarray  # int32 [I + 1, head]: first tokens, for items of a history
    full: np.ndarray  # int32 [I + 1, full], for candidates
    cut: int  # items whose title has more tokens than `full`
    empty: int  # items without a title: a row of zeros, which the semantic view masks


def build_titles(
    dataset: Dataset, vocabulary: Vocabulary, head: int = 10, full: int = 32
) -> Titles:
    """The title tables of a dataset. Sizes of the released code.

    head, full: tokens kept of a history item and of a candidate
    """
    lists = read_title_ids(dataset, vocabulary)
    width = max(head, full)
    rows = np.pad(pad_lists(lists, width), ((1, 0), (0, 0)))
    return Titles(
        head=np.ascontiguousarray(rows[:, :head]),
        full=np.ascontiguousarray(rows[:, :full]),
        cut=int((lists.lengths > full).sum()),
        empty=int((lists.lengths == 0).sum()),
    )
