"""Audit of histories: nothing in one may happen with its target or after it.

Histories are the timeline's, which batches are made of, or those that a published pipeline
stored: `history/<split>/{rec,search}_{valid,test}.npz` in the dataset folder, with the arrays
`offsets` int64 [n + 1], `rec_row` and `search_row` int64 [E]. Row i of the split part has the
events offsets[i]:offsets[i + 1]; each is a row number in one table, and -1 in the other array.

Strictness is taken from the raw tables, event by event and click by click, whatever the timeline
believes. A target that its user truly took before may stand in its history, unless the manifest
says `"no_repeats": true`.

An echo is a target that its history knows through a click of the target's own time or later: a
shop logs one click in the search (10:00) and as an interaction (10:01), and a pipeline that gives
the search all its clicks at 10:00 is told the answer. The timeline shows a click strictly after
its own time, so its histories have no echo; stored ones have every click of a search, as the
pipelines that store them do.

Shapes: [n] targets of a split part  [E] events of all their histories  [k] items that they show
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.audit_faults import EXAMPLES, Fault, Figure, Log, make_fault, percent
from common.data.events import PARTS, TASKS
from common.data.timeline import Timeline, expand_ranges
from common.errors import InputError
from common.npy_files import read_npz

ECHO = (
    "many targets were only clicked in a search before; where interactions are those clicks, "
    "logged again, give `click_times` or a longer --click_window (docs/your_data.md, Echoes)"
)
_MANY = 0.1  # of the targets of a part, so that the audit says so
_CHUNK = 1 << 22  # events looked at together: about 300 MB


class _Pairs(NamedTuple):
    """Events of one service in the histories of some targets."""

    owner: np.ndarray  # int64, which target
    row: np.ndarray  # int64, row number of the event in its table


class _Known(NamedTuple):
    """Items that the histories of some targets show."""

    owner: np.ndarray  # int64 [k], which target
    item: np.ndarray  # int32 [k]
    is_click: np.ndarray  # bool [k], through a click of a search
    event: np.ndarray  # int64 [k], key of the rec event or of the search
    moment: np.ndarray  # int64 [k], key of the rec event or of the click


class _Chunk(NamedTuple):
    """What some histories hold."""

    pairs: dict[str, _Pairs]  # service -> events
    known: _Known


def check_histories(
    log: Log, rows: Mapping[tuple[str, str], np.ndarray]
) -> tuple[list[Fault], list[Figure]]:
    """F09, F10 and F16, for every part of both tasks; the figures tell lengths and repeats.

    rows: (task, part) -> row numbers of positives
    Raises InputError for a stored history file that does not fit the split.
    """
    data = log.dataset
    faults: list[Fault] = []
    figures: list[Figure] = []
    many = False
    for task in TASKS:
        for part in PARTS:
            where, targets = f"{task}_{part}", rows[task, part]
            lengths = data.timeline.history_size(task, targets)
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
                chunks = _cut_stored(log, offsets, events)
            else:
                chunks = _cut_timeline(log, data.timeline, task, targets, lengths)
            tally = _Tally(log, task, targets)
            for chunk in chunks:
                tally.add(chunk)
            faults += tally.faults(where)
            figures.append((f"{where} histories", _describe_lengths(lengths)))
            figures.append((f"{where} targets", tally.describe_repeats()))
            many |= bool(len(targets)) and tally.only_clicked.mean() > _MANY
    if many or any(fault.check == "F16" for fault in faults):
        figures.append(("echo", ECHO))
    return faults, figures


class _Tally:
    """Collects, chunk by chunk, what is wrong with the histories of a split part."""

    def __init__(self, log: Log, task: str, targets: np.ndarray) -> None:
        self._log, self._task, self._targets = log, task, targets
        # Per target: a history event that is not earlier; the target's item in an event that is
        # earlier (a true repeat); the item in an event that is not.
        self.is_late, self.has_early, self.has_late = np.zeros((3, len(targets)), bool)
        # The item in a rec event that is earlier; in a click that is not, of an earlier search.
        self.is_taken, self.is_echo = np.zeros((2, len(targets)), bool)
        self._late_events: list[str] = []

    def add(self, chunk: _Chunk) -> None:
        """Looks at some histories."""
        log, events = self._log, self._log.dataset.events(self._task)
        for service, (owner, row) in chunk.pairs.items():
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
        known = chunk.known
        target = self._targets[known.owner]
        known = _Known(*[column[known.item == events.target[target]] for column in known])
        key = log.keys[self._task][self._targets[known.owner]]
        early, late = known.moment < key, known.event >= key
        self.has_early[known.owner[early]] = True
        self.is_taken[known.owner[early & ~known.is_click]] = True
        self.has_late[known.owner[late]] = True
        self.is_echo[known.owner[~early & ~late]] = True

    def faults(self, where: str) -> list[Fault]:
        """F09, F10 and F16 of all that was added."""
        own = self.has_late & ~self.has_early
        if self._log.dataset.manifest.get("no_repeats"):
            own = self.has_late | self.has_early
        echo = self.is_echo & ~self.has_early & ~own
        late = "history has an event that is not strictly earlier"
        repeat = "target stands in its own history and is no repeat"
        told = "target is known to its history only through a click not strictly earlier (an echo)"
        return [
            *make_fault("F10", where, late, int(self.is_late.sum()), self._late_events),
            *make_fault("F09", where, repeat, int(own.sum()), self._name(own)),
            *make_fault("F16", where, told, int(echo.sum()), self._name(echo)),
        ]

    def describe_repeats(self) -> str:
        """How many targets their histories know already, and through what."""
        return (
            f"true repeats {percent(self.has_early)}: {int(self.is_taken.sum()):,} taken before, "
            f"{int(self.only_clicked.sum()):,} only clicked in a search before"
        )

    @property
    def only_clicked(self) -> np.ndarray:
        """bool [n]: targets known through an earlier click of a search, not through a rec event."""
        return self.has_early & ~self.is_taken

    def _name(self, chosen: np.ndarray) -> Iterator[str]:
        return (self._log.describe(self._task, int(row)) for row in self._targets[chosen])


def _cut_timeline(
    log: Log, timeline: Timeline, task: str, targets: np.ndarray, lengths: np.ndarray
) -> Iterator[_Chunk]:
    """The timeline's histories of targets, about `_CHUNK` events at a time."""
    for first, last in _cut_ranges(lengths):
        some = targets[first:last]
        rec_end, search_end, rec_start, search_start = timeline.ends(task, some)
        owner = np.arange(first, last)
        recs, searches = rec_end - rec_start, search_end - search_start
        pairs = {
            "rec": _Pairs(np.repeat(owner, recs), timeline.rec_row[expand_ranges(rec_start, recs)]),
            "search": _Pairs(np.repeat(owner, searches), expand_ranges(search_start, searches)),
        }
        known = timeline.known_items(task, some)
        rec = timeline.rec_row[known.place[~known.is_click]]
        yield _Chunk(pairs, _date(log, known.owner + first, known.is_click, rec,
                                  known.place[known.is_click]))  # fmt: skip


def _cut_stored(
    log: Log, offsets: np.ndarray, events: Mapping[str, np.ndarray]
) -> Iterator[_Chunk]:
    """The stored histories, about `_CHUNK` events at a time, with every click of their searches."""
    lengths, off = np.diff(offsets), log.dataset.search.click_off
    for first, last in _cut_ranges(lengths):
        owner = np.repeat(np.arange(first, last), lengths[first:last])
        some = {task: row[offsets[first] : offsets[last]] for task, row in events.items()}
        pairs = {task: _Pairs(owner[row >= 0], row[row >= 0]) for task, row in some.items()}
        bought, searched = pairs["rec"], pairs["search"]
        sizes = off[searched.row + 1] - off[searched.row]
        owners = np.append(bought.owner, np.repeat(searched.owner, sizes))
        is_click = np.arange(len(owners)) >= len(bought.owner)
        clicks = expand_ranges(off[searched.row], sizes)
        yield _Chunk(pairs, _date(log, owners, is_click, bought.row, clicks))


def _date(
    log: Log, owner: np.ndarray, is_click: np.ndarray, rec: np.ndarray, click: np.ndarray
) -> _Known:
    """Items with the keys of their events and of their own moments, from the raw tables.

    owner: int64 [k]; is_click: bool [k]; rec: rows of the rec events among them; click: which of
    all clicks the others are
    """
    search = log.dataset.search
    item = np.empty(len(owner), np.int32)
    event, moment = np.empty((2, len(owner)), np.int64)
    item[~is_click], item[is_click] = log.dataset.rec.item[rec], search.click_item[click]
    event[~is_click] = moment[~is_click] = log.keys["rec"][rec]
    event[is_click] = log.keys["search"][search.click_search[click]]
    moment[is_click] = log.clicks[click]
    return _Known(owner, item, is_click, event, moment)


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
