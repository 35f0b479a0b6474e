"""What a reader must know before believing a result: kept in `results.json`, told everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.ranking.intervals import MIN_USERS
from common.ranking.sanity import find_leak

MAX_TIE_RATE = 0.01
EVERYWHERE = "all"
Alarm = dict[str, str]  # {"alarm", "where": "rec/full" or `EVERYWHERE`, "says"}


def find_alarms(results: Mapping[str, Any], max_tie_rate: float = MAX_TIE_RATE) -> list[Alarm]:
    """The alarms of a result, from its figures.

    NOT FINAL: more rows are tied than `max_tie_rate` allows. LEAK OR REPEATS: the candidate's
    presence in the row's own history predicts the target better than chance.
    """
    alarms = []
    rate = results["ties"]["rate"]
    if rate > max_tie_rate:
        says = f"{rate:.2%} of ranks are tied, above {max_tie_rate:.2%}; rank by logits in float32"
        alarms.append({"alarm": "NOT FINAL", "where": EVERYWHERE, "says": says})
    for where, place in results.get("own_history", {}).items():
        if find_leak(place):
            says = f"in_history puts targets at {place['value']:.1%} of their lists, chance is 50%"
            alarms.append({"alarm": "LEAK OR REPEATS", "where": where, "says": says})
    return alarms


def tell_alarm(alarm: Alarm) -> str:
    """An alarm in one line."""
    where = "" if alarm["where"] == EVERYWHERE else f" {alarm['where']}:"
    return f"{alarm['alarm']}:{where} {alarm['says']}"


def repeat_alarms(
    methods: Mapping[str, Sequence[Mapping[str, Any]]], task: str, protocol: str
) -> list[str]:
    """A line for every alarm of compared runs that concerns this ranking, naming the methods.

    methods: {name: the results of its runs}; an alarm is told with the figure of the first run
    """
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for name, runs in methods.items():
        for alarm in (alarm for results in runs for alarm in results.get("alarms", ())):
            if alarm["where"] in (EVERYWHERE, f"{task}/{protocol}"):
                key = (alarm["alarm"], alarm["where"])
                _, names = found.setdefault(key, (tell_alarm(alarm), []))
                if name not in names:
                    names.append(name)
    return [f"{told} ({', '.join(names)})." for told, names in found.values()]


def tell_few(rows: int, users: int) -> str:
    """That so few users were ranked that nothing can be concluded; empty from `MIN_USERS` on."""
    if users >= MIN_USERS:
        return ""
    return (
        f"TOO FEW ROWS to conclude anything: {rows:,} of {users:,} users; "
        f"test on at least {MIN_USERS} users"
    )
