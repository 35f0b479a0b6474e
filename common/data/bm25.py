"""BM25: which items' words match a query best.

Scores are sums over the query's words of idf(w) tf (k1 + 1) / (tf + k1 (1 - b + b length / mean
length)), with idf(w) = ln(1 + (n - df + 0.5) / (df + 0.5)), k1 1.2 and b 0.75.
Source: Robertson and Zaragoza, The Probabilistic Relevance Framework; idf as in Lucene.

Shapes: [D] documents  [W] words of all documents or queries
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.data.words import find_words

K1, B = 1.2, 0.75


class Words(NamedTuple):
    """Words of numbered texts, as CSR: words of text i are word[off[i]:off[i + 1]]."""

    off: np.ndarray  # int64 [texts + 1]
    word: np.ndarray  # int32 [W]


@dataclass(frozen=True)
class Bm25Index:
    """For each word the items that have it, with the word's share of the item's score."""

    word_off: np.ndarray  # int64 [words + 1]
    item: np.ndarray  # int32, ascending inside a word
    weight: np.ndarray  # float64
    n_items: int
    queries: Words  # text i = query i


def split_words(texts: Sequence[str | None], vocabulary: dict[str, int]) -> Words:
    """The words of texts (`find_words`) as numbers; new words are added to `vocabulary`.

    texts: text i, None = no words
    """
    lengths = np.zeros(len(texts) + 1, np.int64)
    words: list[int] = []
    for i, text in enumerate(texts):
        if text:
            words += [vocabulary.setdefault(w, len(vocabulary)) for w in find_words(text)]
        lengths[i + 1] = len(words)
    return Words(lengths, np.asarray(words, np.int32))


def build_index(items: Words, queries: Words) -> Bm25Index:
    """Indexes the items' words.

    items:   text i = item i (text 0, the padding item, is empty and does not count)
    queries: text i = query i, words numbered as in `items`
    """
    lengths = np.diff(items.off)
    n_items = len(lengths) - 1
    n_words = 1 + max(int(words.word.max(initial=-1)) for words in (items, queries))
    document = np.repeat(np.arange(n_items + 1), lengths)
    pair, tf = np.unique(items.word.astype(np.int64) * (n_items + 1) + document, return_counts=True)
    word, item = pair // (n_items + 1), pair % (n_items + 1)
    df = np.bincount(word, minlength=n_words)
    idf = np.log1p((n_items - df + 0.5) / (df + 0.5))
    mean_length = lengths[1:].mean() if n_items and items.word.size else 1.0
    norm = K1 * (1 - B + B * lengths[item] / mean_length)
    weight = idf[word] * tf * (K1 + 1) / (tf + norm)
    off = np.concatenate([[0], np.cumsum(df)])
    return Bm25Index(off, item.astype(np.int32), weight, n_items, queries)


def score_query(index: Bm25Index, query: int) -> np.ndarray:
    """float64 [N + 1]: the score of every item for one query; repeated words count again."""
    scores = np.zeros(index.n_items + 1)
    words = index.queries.word[index.queries.off[query] : index.queries.off[query + 1]]
    for word in words:
        part = slice(index.word_off[word], index.word_off[word + 1])
        scores[index.item[part]] += index.weight[part]  # an item occurs once per word
    return scores


def rank_hits(index: Bm25Index, query: int) -> np.ndarray:
    """int64: the items that share a word with the query, best first, ties by item id."""
    scores = score_query(index, query)
    hits = np.flatnonzero(scores > 0)
    return hits[np.argsort(-scores[hits], kind="stable")]
