"""L21: the two tables do not tell the time by one clock.

Searches and interactions of a user come together, in sittings. If one table is shifted, by a time
zone or a day, they still do, but at a distance; then what came after the target stands before it.
So the distances from searches to the interactions of the same user are counted in steps of half an
hour: the most common distance, counted by users, is compared with none at all. That sees a shift
where nothing is in both tables; `common.data.clocks` needs items that are.

Only a distance that stands out from those around it counts: people who search in the morning and
buy in the evening have a hill, a shift has a peak. Source: ours.

Shapes: [S] searches looked at  [p] pairs of a search and an interaction of its user
"""

from __future__ import annotations

import numpy as np

from common.data.audit_chance import NOTHING, Share, spread_rows
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.clocks import tell_span
from common.data.timeline import expand_ranges

STEP = 30 * 60_000  # ms; a time zone is a multiple of half an hour, but for three of a quarter
_DAY = 86_400_000
_NEAR = STEP  # distances up to here count as none: a search comes a little before its click
_AROUND = 6  # steps on either side that a peak stands out from
_PEAK = 2  # times as many users as around it, and as at no distance
_MOST = 200_000  # pairs; of more, fewer searches are looked at: 4 M took 2.5 s on Beauty


def measure_offsets(log: Log) -> list[Measure]:
    """The share of users at the most common distance of the tables, against those at none.

    Also how many searches stand at a time of day that no interaction has, where the log knows days
    only. All events count, whatever the split makes of them.
    """
    rec, search = log.dataset.rec, log.dataset.search
    share, peak = find_peak(rec.user[rec.positive], rec.ts[rec.positive], search.user, search.ts)
    side = "after" if peak >= 0 else "before"
    what = (
        f"users take something {tell_span(abs(peak)) or '0 min'} {side} a search, chance: at once"
    )
    measures = [Measure("L21", "distance", "tables", what, share)]
    times = [events.ts % _DAY for events in (rec, search)]
    if all(len(part) for part in times):
        known = [np.unique(part) for part in times]
        strange = np.zeros(0, bool)
        if min(map(len, known)) == 1:  # one of the tables has one time of day: it knows days
            strange = ~np.isin(times[1], known[0])
        share = (
            Share(float(strange.mean()), 0.0, len(times[1]), strange) if len(strange) else NOTHING
        )
        what = "searches stand at a time of day that no interaction has"
        measures.append(Measure("L21", "day", "tables", what, share))
    return measures


def find_peak(
    rec_user: np.ndarray, rec_ts: np.ndarray, user: np.ndarray, ts: np.ndarray
) -> tuple[Share, int]:
    """How many users have interactions at the most common distance from a search of theirs.

    rec_user, rec_ts: interactions, sorted by user, ms; user, ts: searches, likewise
    Returns the share of users at that distance, with the share at no distance as chance, and the
    distance in ms; `NOTHING` where no distance stands out.
    """
    off = np.searchsorted(rec_user, [user, user + 1])
    sizes = off[1] - off[0]
    some = np.flatnonzero(sizes)
    if not len(some):
        return NOTHING, 0
    some = spread_rows(some, max(1, int(len(some) * _MOST / max(_MOST, sizes.sum()))))
    owner = np.repeat(some, sizes[some])
    distance = rec_ts[expand_ranges(off[0][some], sizes[some])] - ts[owner]
    n_users = len(np.unique(user[some]))
    best: tuple[Share, int] = NOTHING, 0
    for shift in (0, STEP // 2):  # a peak on the edge of one grid is inside the other
        step = (distance + STEP // 2 + shift) // STEP
        first, width = int(step.min()), int(step.max() - step.min()) + 1
        seen = np.unique(user[owner].astype(np.int64) * width + (step - first))
        users = np.bincount(seen % width, minlength=width)
        wide = np.concatenate([np.zeros(_AROUND, int), users, np.zeros(_AROUND, int)])
        around = np.lib.stride_tricks.sliding_window_view(wide, 2 * _AROUND + 1)
        centre = np.arange(width)
        middle = (centre + first) * STEP - shift
        here = np.abs(middle) <= _NEAR
        at_once = int(users[here].max(initial=0))
        stands_out = ~here & (users >= _PEAK * max(at_once, 1))
        for place in np.flatnonzero(stands_out)[np.argsort(-users[stands_out], kind="stable")][:20]:
            sides = around[place][: _AROUND - 1], around[place][_AROUND + 2 :]
            # Of both sides the higher one, or the edge of a hill would be a peak.
            if users[place] < _PEAK * max(1.0, *(float(side.mean()) for side in sides)):
                continue
            share = Share(users[place] / n_users, at_once / n_users, n_users, np.zeros(0, bool))
            if share.share - share.chance > best[0].share - best[0].chance:
                inside = distance[step - first == place]
                best = share, int(np.median(inside))
            break
    return best
