"""L19: twins, two user ids with the history of one.

A log that was copied under new ids, or joined with itself, trains on its own test rows: whoever
knows the one knows the other. Twins share at least 80 % of the items of the one who has fewer,
and more than chance could give them anywhere in the data: a shared item that one user in a
thousand took says log2(1000) bits, and 2 log2(users) + 10 bits are asked for, so that among
all pairs one in a thousand data sets has such a pair by accident. Popular items say little, and
users with few items cannot be twins.

Pairs are found by MinHash (Broder 1997): users whose item sets are alike share the smallest hash.

Shapes: [U] users, ids 1..U  [p] pairs of users
"""

from __future__ import annotations

import numpy as np

from common.data.audit_chance import Share
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.candidates import Ever
from common.data.hashing import AUDIT, draw_words
from common.data.timeline import expand_ranges

_BANDS = 8  # of two hashes each: a pair with half of all its items shared is met 9 times in 10
_OVERLAP = 0.8
_BITS = 10
_FEW = 5  # items


def measure_twins(log: Log, ever: Ever) -> list[Measure]:
    """How many users have a twin, and how many of them a twin at the same times.

    ever: what each user takes at some time (`ever_items`)
    All events count, whatever the split makes of them.
    """
    sizes = np.diff(ever.off)
    able = np.flatnonzero(sizes >= _FEW)
    one, other = find_alike(ever, able)
    shared, bits = _compare(ever, one, other)
    enough = bits >= 2 * np.log2(max(len(able), 2)) + _BITS
    twins = enough & (shared >= _OVERLAP * np.minimum(sizes[one], sizes[other]))
    one, other = one[twins], other[twins]
    at_once = _share_times(log, one, other) >= _OVERLAP * shared[twins]
    measures = []
    for name, some, what in (
        ("items", np.full(len(one), True), "users have the items of another"),
        ("times", at_once, "users have the items of another, at the same times"),
    ):
        alike = np.unique(np.concatenate([one[some], other[some]]))
        told = f"{what}, as {_name(log, one[some], other[some])}" if some.any() else what
        hits = np.zeros(0, bool)
        share = Share(len(alike) / max(len(able), 1), 0.0, len(able), hits)
        measures.append(Measure("L19", name, "users", told, share))
    return measures


def find_alike(ever: Ever, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of users whose sets may be alike: int64 [p] each, the smaller id first.

    users: int64, ascending, whose sets are not empty
    Of a crowd of equals each user stands in some pair, not in all.
    """
    sizes = np.diff(ever.off)[users]
    items = ever.item[expand_ranges(ever.off[users], sizes)]
    starts = np.cumsum(sizes) - sizes
    pairs = [np.zeros((2, 0), np.int64)]
    if len(users):
        every = np.arange(int(items.max()) + 1)
        for band in range(_BANDS):
            low = [
                np.minimum.reduceat(draw_words(0, AUDIT, every, 2 + 2 * band + half)[items], starts)
                for half in (0, 1)
            ]
            code = low[0] ^ (low[1] << np.uint64(1))
            order = np.argsort(code, kind="stable")
            same = np.flatnonzero(code[order][1:] == code[order][:-1])
            pairs.append(np.stack([users[order[same]], users[order[same + 1]]]))
    found = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1)
    return found[0], found[1]


def _compare(ever: Ever, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many items each pair shares, int64 [p], and how much that says in bits, float64 [p]."""
    width = int(ever.item.max(initial=0)) + 1
    held = np.repeat(np.arange(len(ever.off) - 1), np.diff(ever.off)) * width + ever.item
    sizes = np.diff(ever.off)[one]
    pair = np.repeat(np.arange(len(one)), sizes)
    item = ever.item[expand_ranges(ever.off[one], sizes)]
    code = other[pair] * width + item
    both = held[np.minimum(np.searchsorted(held, code), len(held) - 1)] == code if len(code) else []
    takers = np.bincount(ever.item, minlength=width)
    says = np.log2((len(ever.off) - 1) / np.maximum(takers, 1))
    pair, item = pair[both], item[both]
    return (
        np.bincount(pair, minlength=len(one)),
        np.bincount(pair, weights=says[item], minlength=len(one)),
    )


def _share_times(log: Log, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 [p]: how many items both users of a pair took at the very same time."""
    data = log.dataset
    concerned = np.zeros(data.n_users + 1, bool)
    concerned[one] = concerned[other] = True
    clicker = data.search.user[data.search.click_search]
    taken = data.rec.positive & concerned[data.rec.user]
    user = np.concatenate([data.rec.user[taken], clicker[concerned[clicker]]]).astype(np.int64)
    item = np.concatenate([data.rec.item[taken], data.search.click_item[concerned[clicker]]])
    ts = np.concatenate([data.rec.ts[taken], data.search.click_ts[concerned[clicker]]])
    act = np.unique(np.stack([item.astype(np.int64), ts]), axis=1, return_inverse=True)[1]
    held = np.unique(np.stack([user, act.reshape(-1)]), axis=1)
    off = np.searchsorted(held[0], np.arange(data.n_users + 2))
    sizes = np.diff(off)[one]
    pair = np.repeat(np.arange(len(one)), sizes)
    width = int(held[1].max(initial=0)) + 1
    code = other[pair] * width + held[1][expand_ranges(off[one], sizes)]
    return np.bincount(pair[np.isin(code, held[0] * width + held[1])], minlength=len(one))


def _name(log: Log, one: np.ndarray, other: np.ndarray) -> str:
    pairs = zip(one[:2].tolist(), other[:2].tolist(), strict=True)
    return " and ".join(f"{log.name('users', a)} with {log.name('users', b)}" for a, b in pairs)
