"""From where on a figure of the audit is worth a look, and from where on it is a leak.

A figure is a share of rows. It is compared with its own chance, the share for random pairs, and
must be far from it twice over: by more than the scatter of so many rows, so that small data do not
raise alarms, and by an excess that no clean data set has. docs/audit.md has the clean figures,
`python tests/golden/measure_audit.py` takes them anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.audit_chance import Share
from common.data.audit_faults import Fault, Found, Log, make_fault

# Standard errors above chance. Six, because an audit looks at about 300 shares and a false alarm
# in a million audits is few enough. Where chance is next to nothing, that is six rows.
SIGMAS = 6.0
NEVER = 2.0  # an excess that no share has


class Limit(NamedTuple):
    """Excess over chance, as a share of rows."""

    look: float
    leak: float


class Measure(NamedTuple):
    """One figure to be judged."""

    check: str  # "L20"
    name: str  # with the check the key of `LIMITS`
    where: str  # "rec_test"
    what: str  # what is so in a share of the rows
    share: Share
    task: str = ""  # where `share.hits` are rows: of which table
    rows: np.ndarray | None = None  # and which ones


# A look is at least 1.7 times the largest excess that 500 rows of a clean set have, for most of the
# figures more than three times; what is planted in most rows of `demo` exceeds what a leak needs.
# docs/audit.md has both tables.
_TITLE = Limit(0.10, 0.50)
_ID = Limit(0.05, 0.20)
_VALUE = Limit(0.02, 0.20)  # no honest column is an id
_NEIGHBOUR = Limit(0.10, 0.40)  # brands are bought again, fashions follow the users' numbers
_DRAWN = Limit(0.10, 0.30)
_FREE = Limit(0.25, 0.40)  # lists by text have the popularity and age of what the words say

_PAIRS = ("own", "before", "buyer", "next", "user")
_FACTS = ("odd ids", "ids", "popularity", "first event")

# (check, name) -> limit
LIMITS: dict[tuple[str, str], Limit] = {
    # People search for what they then take, so words in common are no leak: look only.
    ("L17", "query/words"): Limit(0.50, NEVER),
    ("L17", "query/title"): _TITLE,
    ("L17", "query/id"): _ID,
    ("L17", "item/words"): Limit(0.40, NEVER),
    ("L17", "item/title"): _TITLE,
    ("L17", "item/id"): _ID,
    ("L18", "item"): Limit(0.05, 0.10),
    ("L18", "query"): Limit(0.05, NEVER),  # it tells who asks, which is known
    # Readers of one series have equal histories, but not at equal times.
    ("L19", "items"): Limit(0.05, 0.20),
    ("L19", "times"): Limit(0.01, 0.05),
    **{("L20", f"{pair}/value"): _VALUE for pair in _PAIRS},
    **{("L20", f"{pair}/neighbour"): _NEIGHBOUR for pair in _PAIRS},
    ("L21", "distance"): Limit(0.10, 0.50),
    ("L21", "day"): Limit(0.05, NEVER),  # a log of days beside one of seconds is honest
    ("L22", "again"): Limit(0.01, 0.05),
    ("L22", "gap"): Limit(0.05, 0.30),
    ("L22", "created"): Limit(0.05, 0.20),
    ("L22", "created before"): Limit(0.05, 0.20),
    **{("L23", fact): _DRAWN for fact in _FACTS},
    **{("L23", f"free {fact}"): _FREE for fact in _FACTS},
    **{("L23", f"{fact}/own"): _DRAWN for fact in _FACTS},
    ("L23", "taken"): Limit(0.10, 0.25),
    ("L23", "pool"): Limit(0.30, 0.80),
}

_ALWAYS = ("L17", "query/words")  # printed beside it: how much searches say

# Printed once, under the first line of a check.
ADVICE = {
    "L17": "Read some of these texts: were they written before the click?",
    "L18": "Read some of these texts: a catalogue does not know its buyers",
    "L19": "Are these accounts of one person, or was the log copied? Drop one of each pair",
    "L20": "Is the column known before the click? Drop it, or say what it is",
    "L21": "Do both tables use one time zone and one clock?",
    "L22": "Was one click logged twice? Keep one row, or give the true times",
    "L23": "How were the negatives drawn? A rule that sees no item's content can win",
}


def judge(log: Log, measures: list[Measure]) -> Found:
    """The figures that are far from chance as leaks and looks; one line for each check and place.

    The line has the figure that is nearest to its limit.
    Raises KeyError for a figure without a limit.
    """
    found = Found([], [], [])
    places: dict[tuple[str, str], list[Measure]] = {}
    for measure in measures:
        level = find_level(measure)
        if level:
            (found.faults if level == "leak" else found.looks).extend(_tell(log, measure))
        if measure.share.n:
            places.setdefault((measure.check, measure.where), []).append(measure)
    for (check, where), some in places.items():
        nearest = max(some, key=find_approach)
        told = [m for m in some if (m.check, m.name) == _ALWAYS or m is nearest]
        found.figures.append((f"{check} {where}", "; ".join(map(_describe, told))))
    return found


def find_excess(measure: Measure) -> float:
    """How far a share is above its chance; of candidates (L23) also below it."""
    excess = measure.share.share - measure.share.chance
    return abs(excess) if measure.check == "L23" else excess


def find_approach(measure: Measure) -> float:
    """How much of the way to a look a figure has gone; from 1 on it is one.

    By its excess and by its scatter, and the smaller of the two counts: an excess that so few rows
    have by accident is none.
    """
    share, limit = measure.share, LIMITS[measure.check, measure.name]
    if not share.n:
        return 0.0
    # Of n rows no share is surer than one row: 1/n stands for a chance of nothing.
    scatter = (max(share.chance * (1 - share.chance), 1 / share.n) / share.n) ** 0.5
    excess = find_excess(measure)
    return min(excess / limit.look, excess / (SIGMAS * scatter))


def find_level(measure: Measure) -> str:
    """ "leak", "look", or "" where a figure is as clean data have it."""
    if find_approach(measure) < 1:
        return ""
    return "leak" if find_excess(measure) >= LIMITS[measure.check, measure.name].leak else "look"


def _tell(log: Log, measure: Measure) -> list[Fault]:
    share, limit = measure.share, LIMITS[measure.check, measure.name]
    leak = f", leak from {100 * limit.leak:.0f}" if limit.leak < NEVER else ""
    what = f"{_describe(measure)}, look from {100 * limit.look:.0f} percentage points off{leak}"
    rows = np.zeros(0, np.int64) if measure.rows is None else measure.rows
    hits = np.flatnonzero(share.hits[: len(rows)])
    named = (log.describe(measure.task, int(row)) for row in rows[hits])
    number = int(share.hits.sum()) or max(1, round(share.share * share.n))
    return make_fault(measure.check, measure.where, what, number, named)


def _describe(measure: Measure) -> str:
    share = measure.share
    return f"{measure.what} {100 * share.share:.1f} % (chance {100 * share.chance:.1f} %)"
