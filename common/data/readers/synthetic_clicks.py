"""What the synthetic users want and click: intents, times, and items nobody takes twice.

Shapes: [E] clicks of all users, user by user, oldest first; each user has `horizon` more at the
end, which are cut off so that the last click is like every other  [W] wishes for an item
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.candidates import contains
from common.data.readers.synthetic_world import Items, Params, Uniforms, Users

MINUTE = 60_000  # ms
DAY = 24 * 60 * MINUTE
_START = 1_704_067_200_000  # 2024-01-01 UTC, ms
_RETRIES = 8


class Clicks(NamedTuple):
    """The clicks, before they have items."""

    user: np.ndarray  # int64 [E], entry of the user, from 0
    kept: np.ndarray  # bool [E], False for the surplus at the end
    segment: np.ndarray  # int64 [E], number of the intent, counted over all users
    new_intent: np.ndarray  # bool [E]
    intent: np.ndarray  # int64 [E], its topic
    on_intent: np.ndarray  # bool [E], the item is of that topic by design
    ts: np.ndarray  # int64 [E], ms; strictly increasing inside a user
    shown_ts: np.ndarray  # int64 [E], ms; what the log says: one time per batch of clicks


class Wishes(NamedTuple):
    """Items to be drawn, oldest first inside a user."""

    user: np.ndarray  # int64 [W]
    topic: np.ndarray  # int64 [W], -1 = any item
    loyal: np.ndarray  # bool [W], may insist on the user's brand


def draw_clicks(params: Params, users: Users, uniforms: Uniforms) -> Clicks:
    """Draws the intents and times of all clicks."""
    total = users.clicks + params.horizon
    off = np.concatenate([[0], np.cumsum(total)])
    n = int(off[-1])
    user = np.repeat(np.arange(len(total)), total)
    position = np.arange(n) - off[user]
    new = (uniforms.draw(n) < params.drift) | (position == 0)
    topic = _draw_intents(params, users, np.bincount(user[new]), uniforms)
    segment = np.cumsum(new) - 1

    gaps = 40 * MINUTE + np.floor(uniforms.exponential(n) * (360 * MINUTE)).astype(np.int64)
    elapsed = np.cumsum(gaps)
    start = _START + uniforms.integers(30 * DAY, len(total))
    ts = start[user] + elapsed - elapsed[off[:-1]][user]
    # A batch carries the time of its last click, so that every search before one of its clicks
    # is earlier than the batch.
    last = (position // params.tie_batches + 1) * params.tie_batches - 1
    last = off[user] + np.minimum(last, users.clicks[user] - 1)
    kept = position < users.clicks[user]
    return Clicks(
        user=user,
        kept=kept,
        segment=segment,
        new_intent=new,
        intent=topic[segment],
        on_intent=uniforms.draw(n) < params.on_intent,
        ts=ts,
        shown_ts=ts[np.where(kept, last, np.arange(n))],
    )


def _draw_intents(
    params: Params, users: Users, segments: np.ndarray, uniforms: Uniforms
) -> np.ndarray:
    """int64, one topic per segment, user by user; never the topic of the segment before.

    segments: int64 [U], how many each user has. Where the topic before is drawn again, one of the
    others takes its place, each with the same chance.
    """
    off = np.concatenate([[0], np.cumsum(segments)])
    topics = np.empty(int(off[-1]), np.int64)
    by_length = np.argsort(-segments, kind="stable")
    longest_first = -segments[by_length]
    for number in range(int(segments.max(initial=0))):
        # A vector over all users who get that far: about 1,000 rounds for 7 M clicks.
        user = by_length[: np.searchsorted(longest_first, -number)]
        place = off[user] + number
        u = uniforms.draw(3, len(user))
        other = np.floor(u[2] * params.topics).astype(np.int64)
        topic = np.where(u[0] < params.explore, other, users.draw_topic(user, u[1]))
        if number:
            before = topics[place - 1]
            step = 1 + uniforms.integers(params.topics - 1, len(user))
            topic = np.where(topic == before, (before + step) % params.topics, topic)
        topics[place] = topic
    return topics


def settle_items(
    params: Params, items: Items, users: Users, wishes: Wishes, uniforms: Uniforms
) -> np.ndarray:
    """int32 [W]: an item per wish, 0 where eight more tries found only items the user had.

    No user gets an item twice; the older wish goes first. `repeat_rate` lets some through.
    """
    result = np.zeros(len(wishes.user), np.int32)
    taken = np.zeros(0, np.int64)
    todo = np.arange(len(wishes.user))
    for _ in range(1 + _RETRIES):
        user, topic = wishes.user[todo], wishes.topic[todo]
        u = uniforms.draw(3, len(todo))
        insists = wishes.loyal[todo] & (u[0] < params.loyal)
        brand = np.where(insists, users.brand[user].astype(np.int64), -1)
        item = items.draw_topical(np.maximum(topic, 0), brand, u[1])
        free = np.flatnonzero(topic < 0)
        item[free] = items.draw_any(u[1][free])
        codes = user * (params.items + 1) + item
        first = np.zeros(len(todo), bool)
        first[np.unique(codes, return_index=True)[1]] = True
        good = (first & ~contains(taken, codes)) | (u[2] < params.repeat_rate)
        result[todo[good]] = item[good]
        taken = np.sort(np.concatenate([taken, codes[good]]), kind="stable")
        todo = todo[~good]
    return result
