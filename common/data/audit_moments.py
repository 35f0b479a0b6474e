"""L22: an event that was logged again a moment earlier, and an item that was made for its click.

A copy of the target one millisecond before it is strictly earlier, so a history may hold it, and
no person did it: nobody takes one item twice within a second. An item whose `created_ms` is the
time of the click, or whose predecessor's is, tells the answer to who sorts by it.

Shapes: [n] targets of a split part
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.data.audit_chance import NOTHING, Share, pair_randomly, spread_rows
from common.data.audit_columns import find_before
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.events import PARTS, TASKS

Rows = Mapping[tuple[str, str], np.ndarray]

_MOMENT = 1_000  # ms; twice faster than people choose among results
_CREATED = 60_000  # ms; a log may round its times to minutes
_DAY = 86_400_000
_SAME = 0.5  # of the gaps are one gap: a machine's, not a person's


def measure_moments(log: Log, rows: Rows) -> list[Measure]:
    """How many targets were taken a moment before, or exactly when their item was created.

    rows: (task, part) -> row numbers of positives
    """
    column = log.tables["items"]["created_ms"]
    known = np.append(False, column.is_valid().to_numpy())
    created = np.append(0, column.fill_null(0).to_numpy())
    fine = known & (created % _DAY != 0)  # of the rest the day is known, and that may be the same
    measures = []
    for task in TASKS:
        events, rec = log.dataset.events(task), log.dataset.rec
        parts = {part: spread_rows(rows[task, part]) for part in PARTS}
        gaps = find_gaps(log, task, np.concatenate(list(parts.values())))
        for part, gap in zip(
            PARTS,
            np.split(gaps, np.cumsum([len(rows) for rows in parts.values()])[:-1]),
            strict=True,
        ):
            targets, where = parts[part], f"{task}_{part}"
            ts, item = events.ts[targets], events.target[targets].astype(np.int64)
            for name, share, what in (
                ("again", _mark((gap > 0) & (gap <= _MOMENT)),
                 "targets were taken by their user within 1 s before"),
                ("gap", _most_common(gap), "targets were taken before, all at one distance"),
            ):  # fmt: skip
                measures.append(Measure("L22", name, where, what, share, task, targets))
            before = find_before(log, task, targets, "rec")
            last = np.where(before >= 0, rec.item[before] if len(rec.item) else 0, 0)
            for name, which, what in (
                ("created", item, "targets were created within 1 min of their click"),
                ("created before", last, "items taken right before were created within 1 min of "
                 "the target's click"),
            ):  # fmt: skip
                share = _compare(created[which], ts, fine[which])
                measures.append(Measure("L22", name, where, what, share, task, targets))
    return measures


def find_gaps(log: Log, task: str, targets: np.ndarray) -> np.ndarray:
    """int64 [n]: ms from the user's last taking of the target's item before the target to it.

    Takings are interactions and clicks of searches, at an earlier time; 0 = there is none.
    targets: int64 [n], row numbers in the task's table
    """
    data = log.dataset
    events, width = data.events(task), np.int64(data.n_items + 1)
    taken = data.rec.positive
    clicker = data.search.user[data.search.click_search].astype(np.int64)
    pair = np.concatenate(
        [data.rec.user[taken] * width + data.rec.item[taken],
         clicker * width + data.search.click_item]
    )  # fmt: skip
    ts = np.concatenate([data.rec.ts[taken], data.search.click_ts])
    asked = events.user[targets] * width + events.target[targets]
    near = np.isin(pair, asked)
    pair, ts = pair[near], ts[near]
    # The target is among them; of its own time nothing is before it.
    moments, rank = np.unique(np.concatenate([ts, events.ts[targets]]), return_inverse=True)
    steps = np.int64(len(moments) + 1)
    code = np.sort(pair.astype(np.int64) * steps + rank[: len(ts)])
    own = asked.astype(np.int64) * steps + rank[len(ts) :]
    place = np.searchsorted(code, own) - 1
    found = place >= 0
    found[found] = code[place[found]] // steps == asked[found]
    gap = np.zeros(len(targets), np.int64)
    gap[found] = events.ts[targets][found] - moments[code[place[found]] % steps]
    return gap


def _mark(hits: np.ndarray) -> Share:
    return Share(float(hits.mean()), 0.0, len(hits), hits) if len(hits) else NOTHING


def _most_common(gap: np.ndarray) -> Share:
    """Targets at the most common gap, where it is most of all gaps and no whole days."""
    values, counts = np.unique(gap[(gap > 0) & (gap % _DAY != 0)], return_counts=True)
    if not len(values) or counts.max() < _SAME * counts.sum():
        return _mark(np.zeros(len(gap), bool))
    return _mark(gap == values[np.argmax(counts)])


def _compare(created: np.ndarray, ts: np.ndarray, known: np.ndarray) -> Share:
    """Targets within a minute of a time of creation; by chance: of that of another row's item."""
    if len(ts) < 2:
        return NOTHING
    hits = known & (np.abs(created - ts) <= _CREATED)
    others = [
        (known[other] & (np.abs(created[other] - ts) <= _CREATED)).mean()
        for other in pair_randomly(len(ts), 2)
    ]
    return Share(float(hits.mean()), float(np.mean(others)), len(ts), hits)
