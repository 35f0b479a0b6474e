"""Audit of histories: nothing in one may happen with its target or after it.

Histories are the timeline's, which batches are made of, or those that a published pipeline
stored: `history/<split>/{rec,search}_{valid,test}.npz` in the dataset folder, with the arrays
`offsets` int64 [n + 1], `rec_row` and `search_row` int64 [E]. Row i of the split part has the
events offsets[i]:offsets[i + 1]; each is a row number in one table, and -1 in the other array.

Strictness is taken from the raw tables, event by event, whatever the timeline believes. A target
that its user truly took before may stand in its history, unless the manifest says
`"no_repeats": true`.

Shapes: [n] targets of a split part  [E] events of all their histories
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.audit_faults import EXAMPLES, Fault, Figure, Log, make_fault, percent
from common.data.events import PARTS, TASKS
from common.data.negatives import row_items
from common.data.timeline import Timeline, build_timeline, expand_ranges
from common.errors import InputError
from common.npy_files import read_npz

_CHUNK = 1 << 22  # events looked at together: about 300 MB


class _Pairs(NamedTuple):
    """Events of one service in the histories of some targets."""

    owner: np.ndarray  # int64, which target
    row: np.ndarray  # int64, row number of the event in its table


def check_histories(
    log: Log, rows: Mapping[tuple[str, str], np.ndarray]
) -> tuple[list[Fault], list[Figure]]:
    """F09 and F10, for every part of both tasks; the figures tell lengths and repeats.

    rows: (task, part) -> row numbers of positives
    Raises InputError for a stored history file that does not fit the split.
    """
    data = log.dataset
    timeline = build_timeline(data.rec, data.search, data.n_users, data.history_order)
    faults: list[Fault] = []
    figures: list[Figure] = []
    for task in TASKS:
        for part in PARTS:
            where, targets = f"{task}_{part}", rows[task, part]
            lengths = timeline.history_size(task, targets)
            stored = data.path / "history" / data.split / f"{where}.npz"
            if part != "train" and stored.is_file():
                offsets, events = _read_stored(stored, log, len(data.rows[task, part]))
                if len(targets) != len(data.rows[task, part]):
                    figures.append((f"{where} histories", "not looked at, because of F08"))
                    continue
                other = percent(np.diff(offsets) != lengths)
                figures.append(
                    (
                        f"L2 {where}",
                        f"stored histories of another length than what came before {other}",
                    )
                )
                lengths = np.diff(offsets)
                chunks = _cut_stored(offsets, events)
            else:
                chunks = _cut_timeline(timeline, task, targets, lengths)
            tally = _Tally(log, task, targets)
            for pairs in chunks:
                tally.add(pairs)
            faults += tally.faults(where)
            repeats = f"; true repeats {percent(tally.has_early)}"
            figures.append((f"{where} histories", _describe_lengths(lengths) + repeats))
    return faults, figures


class _Tally:
    """Collects, chunk by chunk, what is wrong with the histories of a split part."""

    def __init__(self, log: Log, task: str, targets: np.ndarray) -> None:
        self._log, self._task, self._targets = log, task, targets
        # Per target: a history event that is not earlier; the target's item in an event that is
        # earlier (a true repeat); the item in an event that is not.
        self.is_late, self.has_early, self.has_late = np.zeros((3, len(targets)), bool)
        self._late_events: list[str] = []

    def add(self, pairs: Mapping[str, _Pairs]) -> None:
        """Looks at some events; pairs: service -> its events."""
        log, events = self._log, self._log.dataset.events(self._task)
        for service, (owner, row) in pairs.items():
            table, target = log.dataset.events(service), self._targets[owner]
            # Keys of different users do not compare, so the user is part of the question.
            late = table.user[row] != events.user[target]
            late |= log.keys[service][row] >= log.keys[self._task][target]
            self.is_late[owner[late]] = True
            for i in np.flatnonzero(late)[: EXAMPLES - len(self._late_events)]:
                self._late_events.append(
                    f"{log.describe(self._task, int(target[i]))} has "
                    f"{log.describe(service, int(row[i]))} in its history"
                )
            entry, items = row_items(table, row)
            entry = entry[items == events.target[target[entry]]]
            self.has_late[owner[entry[late[entry]]]] = True
            self.has_early[owner[entry[~late[entry]]]] = True

    def faults(self, where: str) -> list[Fault]:
        """F09 and F10 of all that was added."""
        own = self.has_late & ~self.has_early
        if self._log.dataset.manifest.get("no_repeats"):
            own = self.has_late | self.has_early
        named = (self._log.describe(self._task, int(row)) for row in self._targets[own])
        late = "history has an event that is not strictly earlier"
        repeat = "target stands in its own history and is no repeat"
        return [
            *make_fault("F10", where, late, int(self.is_late.sum()), self._late_events),
            *make_fault("F09", where, repeat, int(own.sum()), named),
        ]


def _cut_timeline(
    timeline: Timeline, task: str, targets: np.ndarray, lengths: np.ndarray
) -> Iterator[dict[str, _Pairs]]:
    """The timeline's histories of targets, about `_CHUNK` events at a time."""
    for first, last in _cut_ranges(lengths):
        rec_end, search_end, rec_start, search_start = timeline.ends(task, targets[first:last])
        owner = np.arange(first, last)
        recs, searches = rec_end - rec_start, search_end - search_start
        yield {
            "rec": _Pairs(np.repeat(owner, recs), timeline.rec_row[expand_ranges(rec_start, recs)]),
            "search": _Pairs(np.repeat(owner, searches), expand_ranges(search_start, searches)),
        }


def _cut_stored(
    offsets: np.ndarray, events: Mapping[str, np.ndarray]
) -> Iterator[dict[str, _Pairs]]:
    """The stored histories, about `_CHUNK` events at a time."""
    lengths = np.diff(offsets)
    for first, last in _cut_ranges(lengths):
        owner = np.repeat(np.arange(first, last), lengths[first:last])
        some = {task: row[offsets[first] : offsets[last]] for task, row in events.items()}
        yield {task: _Pairs(owner[row >= 0], row[row >= 0]) for task, row in some.items()}


def _cut_ranges(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of targets whose histories have about `_CHUNK` events together."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    inner = np.searchsorted(ends, np.arange(_CHUNK, total, _CHUNK))
    edges = np.unique([0, *inner.tolist(), len(lengths)])
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _read_stored(file: Path, log: Log, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Offsets and the row numbers per service of a stored history file."""
    arrays = read_npz(file, ("offsets", "rec_row", "search_row"), "export it again")
    offsets = arrays["offsets"].astype(np.int64)
    events = {task: arrays[f"{task}_row"].astype(np.int64) for task in TASKS}
    sizes = {len(row) for row in events.values()}
    fits = len(offsets) == n + 1 and offsets[0] == 0 and sizes == {int(offsets[-1])}
    if not fits or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{file}: {len(offsets)} offsets and arrays of {sorted(sizes)} events do not describe "
            f"{n} histories; store one range per row of the split"
        )
    used = [row >= 0 for row in events.values()]
    if (used[0] == used[1]).any():
        entry = int(np.flatnonzero(used[0] == used[1])[0])
        raise InputError(
            f"{file}, event {entry + 1}: not exactly one of rec_row and search_row is a row "
            "number; put -1 in the other"
        )
    for task, row in events.items():
        total = len(log.dataset.events(task).user)
        if row.max(initial=-1) >= total:
            entry = int(np.flatnonzero(row >= total)[0])
            raise InputError(
                f"{file}, event {entry + 1}: {task}_row {row[entry]} is outside the table of "
                f"{total} rows; export it for this dataset"
            )
    return offsets, events


def _describe_lengths(lengths: np.ndarray) -> str:
    """Quantiles of history lengths in events."""
    if not len(lengths):
        return "no targets"
    quantiles = np.quantile(lengths, [0, 0.25, 0.5, 0.75, 0.95, 1], method="lower").astype(int)
    numbers = "/".join(map(str, quantiles))
    return f"{numbers} events at 0/25/50/75/95/100 %; empty {percent(lengths == 0)}"
