"""What the synthetic users search: useful and useless searches that differ in topic only.

Shapes: [S] searches, user by user, oldest first  [R] results shown per search
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.candidates import first_occurrences
from common.data.readers.synthetic_clicks import DAY, MINUTE, Clicks
from common.data.readers.synthetic_world import Items, Params, Topics, Uniforms, Users

QUERY_WORDS = 4  # at most
_TRIES = 64


class Searches(NamedTuple):
    """The searches, before their clicks have items."""

    before: np.ndarray  # int64 [S], the click that the search comes before
    topic: np.ndarray  # int64 [S]
    useful: np.ndarray  # bool [S]
    lag: np.ndarray  # int64 [S], clicks until the one it is about, from 0; -1 = not useful
    ts: np.ndarray  # int64 [S], ms
    words: np.ndarray  # int64 [S, 4], word numbers, -1 = none
    clicks: np.ndarray  # int64 [S], wanted: 0, 1 or 2


def draw_searches(
    params: Params, topics: Topics, users: Users, clicks: Clicks, uniforms: Uniforms
) -> Searches:
    """Draws when users search, for what, and with which words."""
    boost = np.where(clicks.new_intent, params.drift_boost, 1.0)
    rate = params.search_rate * boost / (1 + (params.drift_boost - 1) * params.drift)
    opens = uniforms.draw(len(clicks.user)) < rate
    before = np.flatnonzero(opens & clicks.kept & users.searcher[clicks.user])
    n = len(before)

    ahead = before[:, None] + np.arange(params.horizon)  # the surplus clicks keep this in range
    wanted = clicks.intent[ahead]
    # The anchor is one of the on-intent clicks ahead, each with the same chance.
    order = np.where(clicks.on_intent[ahead], uniforms.draw(n, params.horizon), -1.0)
    lag = np.argmax(order, axis=1)
    useful = (uniforms.draw(n) < params.useful_share) & (order.max(axis=1) >= 0)
    noise = _draw_noise_topics(params, users, clicks.user[before], wanted, uniforms)

    topic = np.where(useful, wanted[np.arange(n), lag], noise)
    words = topics.draw_words(topic, QUERY_WORDS, params.query_noise, uniforms)
    length = 1 + uniforms.integers(QUERY_WORDS, n)
    words = np.where(np.arange(QUERY_WORDS) < length[:, None], words, -1)
    delay = 10_000 + uniforms.integers(30 * MINUTE - 10_000, n)
    u = uniforms.draw(2, n)
    return Searches(
        before=before,
        topic=topic,
        useful=useful,
        lag=np.where(useful, lag, -1),
        ts=clicks.ts[before] - delay,
        words=words,
        clicks=np.where(u[0] < params.click_rate, np.where(u[1] < 0.2, 2, 1), 0),
    )


def _draw_noise_topics(
    params: Params, users: Users, user: np.ndarray, wanted: np.ndarray, uniforms: Uniforms
) -> np.ndarray:
    """int64 [S]: topics that none of the clicks ahead is about; wanted: [S, horizon]."""
    topic = wanted[:, 0].copy()
    todo = np.arange(len(topic))
    for attempt in range(_TRIES):
        u = uniforms.draw(len(todo))
        if params.noise == "user" and attempt < _TRIES // 2:
            choice = np.floor(u * params.topics_per_user).astype(np.int64)
            topic[todo] = users.topics[user[todo], choice]
        else:  # also where all the user's topics are wanted
            topic[todo] = np.floor(u * params.topics).astype(np.int64)
        todo = todo[(topic[todo, None] == wanted[todo]).any(axis=1)]
        if not todo.size:
            break
    return topic


def time_clicks(
    params: Params, ts: np.ndarray, clicked: np.ndarray, uniforms: Uniforms
) -> np.ndarray:
    """int64 [S, R]: when each result is clicked, in ms, from the top down: the first 1 to 5 s after
    the search, the second as long after the first. So both come before the next event.

    ts: int64 [S], when the search was made; clicked: bool [S, R]
    """
    pauses = 1_000 + uniforms.integers(4_000, len(ts), 2)
    nth = np.clip(np.cumsum(clicked, axis=1) - 1, 0, 1)
    times = ts[:, None] + np.take_along_axis(np.cumsum(pauses, axis=1), nth, axis=1)
    return times // DAY * DAY if params.resolution == "day" else times


def draw_results(
    params: Params, items: Items, topic: np.ndarray, clicked: np.ndarray, uniforms: Uniforms
) -> np.ndarray:
    """The result lists, with the clicked items at random positions.

    topic: int64 [S]; clicked: int32 [S, 2], 0 = none.
    Returns int32 [S, R], distinct items, 0 at the end of the few lists that are shorter.
    """
    shape = (len(topic), params.shown)
    fits = uniforms.draw(*shape) < params.precision
    shown = np.zeros(shape, np.int32)
    shown[:, : clicked.shape[1]] = clicked[:, : params.shown]
    fixed = shown > 0
    for _ in range(8):
        # `clicked` comes first, so it is never the double that is drawn again.
        empty = ~(first_occurrences(shown[:, :0], shown) & (shown > 0))
        line, column = np.nonzero(empty & ~fixed)
        u = uniforms.draw(len(line))
        topical = items.draw_topical(topic[line], np.full(len(line), -1), u)
        shown[line, column] = np.where(fits[line, column], topical, items.draw_any(u))
    shown[~first_occurrences(shown[:, :0], shown)] = 0
    place = np.where(shown > 0, uniforms.draw(*shape), 2.0)
    return np.take_along_axis(shown, np.argsort(place, axis=1, kind="stable"), axis=1)
