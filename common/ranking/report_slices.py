"""What carried a score, in words: the slices of a result and the last lines of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.ranking.alarms import tell_few
from common.ranking.plans import FULL

METRIC = "NDCG@10"
# Repeats as a whole are told in the last lines of the report, and their two kinds here.
_LABELS = {
    "target": {
        "new": "new",
        "bought_before": "bought before",
        "clicked_before": "only clicked before",
    },
    "item": {"warm": "warm", "cold": "cold"},
    "user": {"with_searches": "with searches", "without_searches": "without"},
    "popularity": {"head": "head", "middle": "middle", "tail": "tail"},
    "query": {"seen": "seen in training", "unseen": "unseen"},
}


def slice_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The slices that divide the rows, a line each: of every class its score and share of the rows.

    A class with too few users to conclude from shows its count alone, and a task that has too few
    is left out.
    """
    for task, slices in results.get("slices", {}).items():
        lines = [_slice_line(results, task, name) for name in slices]
        lines = [line for line in lines if line]
        if lines and not _tell_few(results, task):
            yield f"{task} / {_protocol(results, task)}: {METRIC} (share of the rows)"
            yield from lines


def _slice_line(results: Mapping[str, Any], task: str, name: str) -> str:
    """Empty where all rows are of one class: that would say the score again."""
    total, cells = results["protocol"]["rows"][task], []
    for label, words in _LABELS[name].items():
        entry = results["slices"][task][name][label]
        if 0 < entry["n"] < total:
            value = _value(results, task, entry)
            told = f"n = {entry['n']:,}" if value is None else f"{_share(entry['n'] / total)}"
            cells.append(f"{words} {'-' if value is None else f'{value:.4f}'} ({told})")
    return f"  {name:<12}" + "   ".join(cells) if cells else ""


def tell_score(results: Mapping[str, Any]) -> Iterator[str]:
    """A line per task: what carried its score, or that there are too few rows to conclude from."""
    for task, slices in results.get("slices", {}).items():
        protocol, total = _protocol(results, task), results["protocol"]["rows"][task]
        new, repeat = slices["target"]["new"], slices["target"]["repeat"]
        few = _tell_few(results, task)
        if few:
            yield f"{task}: {few}"
        elif not repeat["n"]:
            yield f"{task} / {protocol}: all targets are items new to their users"
        elif not new["n"]:
            yield f"{task} / {protocol}: all targets are repeats, known from their own history"
        else:
            share, value = repeat["n"] / total, _value(results, task, repeat)
            told = f"{_share(1 - share)} of targets are new items: {METRIC} "
            told += f"{_tell(results, task, new)}; "
            told += f"{_share(share)} repeats: {_tell(results, task, repeat)}"
            score = results["tasks"][task][protocol][METRIC]["value"]
            if value is not None and score > 0:
                told += f", {_share(value * share / score)} of the score"
            yield f"{task} / {protocol}: {told}"


def _tell(results: Mapping[str, Any], task: str, entry: Mapping[str, Any]) -> str:
    value = _value(results, task, entry)
    return f"- (n = {entry['n']:,})" if value is None else f"{value:.4f}"


def _share(share: float) -> str:
    """Whole percents, and a decimal where they would say none or all."""
    whole = f"{share:.0%}"
    return f"{share:.1%}" if whole in ("0%", "100%") and 0 < share < 1 else whole


def _value(results: Mapping[str, Any], task: str, entry: Mapping[str, Any]) -> float | None:
    """The score of a class under the protocol that is told; None where it has too few users."""
    if "protocols" not in entry:
        return None
    return float(entry["protocols"][_protocol(results, task)][METRIC]["value"])


def _protocol(results: Mapping[str, Any], task: str) -> str:
    """The full ranking, or the first list where there is none."""
    protocols = results["tasks"][task]
    return FULL if FULL in protocols else next(iter(protocols))


def _tell_few(results: Mapping[str, Any], task: str) -> str:
    return tell_few(*(results["protocol"][what][task] for what in ("rows", "users")))
