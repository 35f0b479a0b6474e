"""The world of the synthetic data: topics, words, items and users, before anything happens.

Random numbers are raw Philox words, one stream per subject, so a data set depends on the seed and
the parameters only. Logarithms and powers are rounded to float32, so that the last bit, in which
mathematical libraries differ, does not matter.

Shapes: [T] topics  [N] items, ids 1..N  [U] users, ids 1..U  [K] topics per user
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_SYLLABLES = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]

_BLOCK = 500_000  # items; part of the generator, because it sets the order of the draws


@dataclass(frozen=True)
class Params:
    """Everything that shapes a synthetic data set; the presets are in `synthetic`."""

    users: int
    items: int
    topics: int
    groups: int  # of topics: the upper level of the category tree
    min_clicks: int
    mean_clicks: float  # before the cap
    max_clicks: int
    topics_per_user: int = 3
    drift: float = 0.35  # chance that a click starts a new intent
    explore: float = 0.3  # chance that an intent is any topic, not one of the user's
    on_intent: float = 0.9  # chance that a click follows the intent
    search_rate: float = 0.4  # searches per click of users who search
    drift_boost: float = 2.0  # how much likelier searches are at the start of an intent
    useful_share: float = 0.5
    horizon: int = 2  # a useful search is about one of the next `horizon` clicks
    noise: str = "random"  # topics of the other searches: "random" or "user" (the user's own)
    no_search: float = 0.1  # share of users who never search
    click_rate: float = 0.75  # share of searches with a click; one in five of them has two
    loyal: float = 0.3  # chance that an item of the intent has the user's favourite brand
    zipf: float = 0.8  # popularity of the r-th item is r ** -zipf
    brands: int = 10
    exposures: float = 0.5  # items shown without a click, per click
    shown: int = 8  # results of a search
    precision: float = 0.7  # share of unclicked results that fit the query
    words_per_topic: int = 25
    common_words: int = 40
    query_noise: float = 0.2  # share of query words that say nothing about the topic
    cold_share: float = 0.05  # items that are new within the time span
    text: bool = True  # False: words are numbers, items have no titles
    tie_batches: int = 1  # clicks of a user that carry one time stamp
    resolution: str = "ms"  # or "day": times are cut down to days
    repeat_rate: float = 0.0  # chance that a click may take an item again
    negatives: int = 99  # what the catalogue can fill


class Uniforms:
    """A stream of uniform float64 numbers in [0, 1): a function of (seed, number of the stream)."""

    def __init__(self, seed: int, stream: int):
        self._bits = np.random.Philox(key=np.array([seed, stream], np.uint64))

    def draw(self, *shape: int) -> np.ndarray:
        """The next numbers of the stream, float64 of the given shape."""
        words = self._bits.random_raw(int(np.prod(shape)))
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def integers(self, n: int | np.ndarray, *shape: int) -> np.ndarray:
        """int64 in [0, n)."""
        return np.floor(self.draw(*shape) * n).astype(np.int64)

    def exponential(self, *shape: int) -> np.ndarray:
        """Exponential of mean 1."""
        return -round_off(np.log(1.0 - self.draw(*shape)))


def round_off(values: np.ndarray) -> np.ndarray:
    """float64 with the precision of float32, see the head of this file."""
    return values.astype(np.float32).astype(np.float64)


class Topics(NamedTuple):
    """Topics with their words. Words are numbered by subject: 0 .. words - 1."""

    group: np.ndarray  # int32 [T], 0 .. groups - 1
    common: int  # words 0 .. common - 1 belong to no topic
    per_topic: int  # the words of topic t begin at common + t * per_topic
    brand: int  # the word of brand b is brand + b
    words: int
    zipf: np.ndarray  # float64 [per_topic], cumulative shares of the words inside a topic

    def draw_words(self, topic: np.ndarray, n: int, noise: float, uniforms: Uniforms) -> np.ndarray:
        """int64 [len(topic), n]: words of the topics, a share `noise` of them common words."""
        u = uniforms.draw(3, len(topic), n)
        rank = np.searchsorted(self.zipf, u[0], side="right")
        own = self.common + topic[:, None] * self.per_topic + rank
        return np.where(u[1] < noise, np.floor(u[2] * self.common).astype(np.int64), own)


class Items(NamedTuple):
    """The catalogue; arrays have N + 1 entries, entry 0 is the pad."""

    topic: np.ndarray  # int32, -1 for the pad
    brand: np.ndarray  # int32
    cold: np.ndarray  # bool: new within the time span
    words: np.ndarray  # int32 [N + 1, 9], word numbers in title order, -1 = none
    # Draws: the catalogue in the order of (topic, brand), with cumulative popularity. Every set
    # that items are drawn from (all, a topic, a brand in a topic) is one stretch of it.
    order: np.ndarray  # int32 [N]
    cumulative: np.ndarray  # float64 [N + 1]
    topic_off: np.ndarray  # int64 [T + 1]
    brand_off: np.ndarray  # int64 [T * brands + 1]

    def draw(self, first: np.ndarray, last: np.ndarray, u: np.ndarray) -> np.ndarray:
        """int32: an item of order[first:last] each, by popularity, for uniform numbers u."""
        low, high = self.cumulative[first], self.cumulative[last]
        place = np.searchsorted(self.cumulative, low + u * (high - low), side="right") - 1
        return self.order[np.clip(place, first, last - 1)]

    def draw_any(self, u: np.ndarray) -> np.ndarray:
        """int32: items of the whole catalogue."""
        return self.draw(np.zeros(u.shape, np.int64), np.full(u.shape, len(self.order)), u)

    def draw_topical(self, topic: np.ndarray, brand: np.ndarray, u: np.ndarray) -> np.ndarray:
        """int32: items of the topics; of a brand (>= 0) where the topic has it."""
        first, last = self.topic_off[topic], self.topic_off[topic + 1]
        code = topic * ((len(self.brand_off) - 1) // (len(self.topic_off) - 1)) + brand
        brand_first, brand_last = self.brand_off[code], self.brand_off[code + 1]
        narrow = (brand >= 0) & (brand_last > brand_first)
        return self.draw(
            np.where(narrow, brand_first, first), np.where(narrow, brand_last, last), u
        )


class Users(NamedTuple):
    """What users are like; arrays have U entries, user u is entry u - 1."""

    topics: np.ndarray  # int32 [U, K]
    weights: np.ndarray  # float64 [U, K], sum to 1
    brand: np.ndarray  # int32, the favourite
    searcher: np.ndarray  # bool
    clicks: np.ndarray  # int64

    def draw_topic(self, user: np.ndarray, u: np.ndarray) -> np.ndarray:
        """int64: one of each user's topics, by weight. user: entries, from 0."""
        edges = np.cumsum(self.weights[user], axis=1)[:, :-1]
        choice = (u[:, None] >= edges).sum(axis=1)
        return self.topics[user, choice].astype(np.int64)


def make_topics(params: Params) -> Topics:
    """The category tree and who owns which words."""
    common, per_topic = params.common_words, params.words_per_topic
    brand = common + params.topics * per_topic
    shares = 1.0 / np.arange(1, per_topic + 1)
    return Topics(
        group=(np.arange(params.topics) * params.groups // params.topics).astype(np.int32),
        common=common,
        per_topic=per_topic,
        brand=brand,
        words=brand + params.brands,
        zipf=np.cumsum(shares)[:-1] / np.cumsum(shares)[-1],
    )


def make_items(params: Params, topics: Topics, uniforms: Uniforms) -> Items:
    """Draws the catalogue."""
    n = params.items
    shares = uniforms.exponential(5, params.topics).sum(axis=0)  # Dirichlet(5), up to a factor
    edges = np.cumsum(shares)[:-1] / np.cumsum(shares)[-1]
    topic = np.searchsorted(edges, uniforms.draw(n), side="right")
    topic[: params.topics] = np.arange(params.topics)  # no topic is empty
    topic = topic[np.argsort(uniforms.draw(n), kind="stable")]
    brand = uniforms.integers(params.brands, n)
    popularity = round_off(np.arange(1, n + 1, dtype=np.float64) ** -params.zipf)
    popularity = popularity[np.argsort(uniforms.draw(n), kind="stable")]
    cold = uniforms.draw(n) < params.cold_share

    words = np.full((n + 1, 9), -1, np.int32)
    words[1:, 0] = topics.brand + brand
    length = 3 + uniforms.integers(6, n)
    for first in range(0, n, _BLOCK):  # 7 M titles at a time would take 3 GB
        part = slice(first, min(first + _BLOCK, n))
        drawn = topics.draw_words(topic[part], 8, 0.2, uniforms)
        words[1:, 1:][part] = np.where(np.arange(8) < length[part, None], drawn, -1)

    code = topic * params.brands + brand
    order = np.argsort(code, kind="stable")
    brand_off = np.searchsorted(code[order], np.arange(params.topics * params.brands + 1))
    pad = np.array([-1], np.int32)
    return Items(
        topic=np.concatenate([pad, topic]).astype(np.int32),
        brand=np.concatenate([pad, brand]).astype(np.int32),
        cold=np.concatenate([[False], cold]),
        words=words,
        order=(order + 1).astype(np.int32),
        cumulative=np.concatenate([[0.0], np.cumsum(popularity[order])]),
        topic_off=brand_off[:: params.brands],
        brand_off=brand_off,
    )


def make_users(params: Params, uniforms: Uniforms) -> Users:
    """Draws tastes and how much each user clicks."""
    n, k = params.users, params.topics_per_user
    topics = np.zeros((n, 0), np.int64)
    for left in range(params.topics, params.topics - k, -1):
        new = uniforms.integers(left, n)
        for used in np.sort(topics, axis=1).T:  # step over the topics the user already has
            new += new >= used
        topics = np.concatenate([topics, new[:, None]], axis=1)
    weights = uniforms.exponential(n, k)
    weights /= np.cumsum(weights, axis=1)[:, -1:]
    brand = uniforms.integers(params.brands, n)
    searcher = uniforms.draw(n) >= params.no_search
    # A negative binomial(2) is the sum of two geometric numbers.
    half = (params.mean_clicks - params.min_clicks) / 2
    scale = round_off(np.log(np.array([half / (1 + half)])))[0]
    clicks = params.min_clicks + np.floor(-uniforms.exponential(2, n) / scale).sum(axis=0)
    return Users(
        topics=topics.astype(np.int32),
        weights=weights,
        brand=brand.astype(np.int32),
        searcher=searcher,
        clicks=np.minimum(clicks, params.max_clicks).astype(np.int64),
    )


def make_words(n: int, uniforms: Uniforms) -> list[str]:
    """n different pronounceable words of two or three syllables, in no order."""
    size = len(_SYLLABLES)
    two = size * size
    if n > two + two * size:
        raise ValueError(f"only {two + two * size} words can be made, {n} are asked for")
    longer = min(n, two * size)  # two-syllable words only where three are not enough
    step = 1_000_003  # a prime that does not divide size ** 3: the walk meets each word once
    start = int(uniforms.integers(two * size, 1)[0])
    numbers = (start + np.arange(longer, dtype=np.int64) * step) % (two * size)
    words = [
        _SYLLABLES[i // two] + _SYLLABLES[i // size % size] + _SYLLABLES[i % size]
        for i in numbers.tolist()
    ]
    words += [_SYLLABLES[i // size] + _SYLLABLES[i % size] for i in range(n - longer)]
    return words
