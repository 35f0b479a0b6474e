"""What a reader must know before believing a result: kept in `results.json`, told everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
