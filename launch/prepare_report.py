"""What `launch.prepare` says of a new dataset: what it is, what to look at, what to do.

Whatever breaks a rule has stopped it before. A look breaks none, and a person may know better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.data.cold import mark_warm_items
from common.data.dataset import Dataset
from common.data.describe import describe_dataset, describe_split
from common.data.events import TASKS
from common.ranking.intervals import MIN_USERS

# Figures that say what the data are, and what was decided or left out.
_OVERVIEW = (
    "users", "items", "queries", "rec", "search", "note", "filter", "split", "rec rows",
    "search rows",
)  # fmt: skip
_WARNING = "warning: "  # how a reader begins a note that is to be looked at


class Look(NamedTuple):
    """Something that a person should look at."""

    what: str
    advice: str = ""


class _Limit(NamedTuple):
    """From which share on a count of the manifest is to be looked at."""

    whole: str  # a count of `_count_wholes`
    share: float
    what: str
    advice: str


# Names of `common.data.checks.count_warnings`; the shares are ours.
_LIMITS = {
    "repeated (user, item) in rec": _Limit(
        "rec", 0.01, "interactions repeat an earlier one of their user and item",
        "Did people come back, or was one act logged twice? Drop copies; the audit tells more"),
    "searches without a click": _Limit(
        "search", 0.9, "searches have no click",
        "Nothing is learnt from them as targets: fill `clicked`, if you know it"),
    "queries without a word": _Limit(
        "queries", 0.05, "queries have no word", "Is `query` what people typed?"),
    "items without a title": _Limit(
        "items", 0.5, "items have no title",
        "GenSR and the bm25 lists read titles: give them, if you have them"),
    "users in search only": _Limit(
        "searchers", 0.5, "users who search take nothing",
        "Do both tables call a user by the same id?"),
}  # fmt: skip
_COLD = 0.1  # of the test rows
_UNMATCHED = 0.1  # of the clicks


def format_report(datasets: Sequence[Dataset], verbose: bool) -> str:
    """The report of one dataset folder, a dataset for each of its splits.

    verbose: all figures, not only what the data are
    """
    first = datasets[0]
    figures = describe_dataset(first.manifest)
    figures += [figure for dataset in datasets for figure in describe_split(dataset)]
    looks = find_looks(datasets)
    told = [
        (name, value) for name, value in figures
        if (verbose or name in _OVERVIEW) and not value.startswith(_WARNING)
    ]  # fmt: skip
    lines = [f"dataset {first.name} in {first.path}"]
    lines += [f"  {name:<13} {value}" for name, value in (*told, ("sha256", first.sha256))]
    hidden = sum(name not in _OVERVIEW for name, _ in figures)
    lines += [] if verbose else [f"  {hidden} more figures: --verbose"]
    lines.append("  in order: ids, times, clicks, splits and candidate lists, in every row")
    for look in looks:
        lines.append(f"  look: {look.what}")
        lines += [f"      {look.advice}"] if look.advice else []
    lines.append(f"  next: python -m launch.audit --data={first.path} looks for leaks")
    return "\n".join(lines)


def find_looks(datasets: Sequence[Dataset]) -> list[Look]:
    """What a person should look at, of the data and of each split."""
    looks = list(_look_at_manifest(datasets[0].manifest))
    for dataset in datasets:
        looks += _look_at_split(dataset)
    return looks


def _look_at_manifest(manifest: Mapping[str, Any]) -> Iterator[Look]:
    for note in manifest["notes"]:
        if note.startswith(_WARNING):
            yield Look(note.removeprefix(_WARNING))
    found = manifest["checks"]["warnings"]
    if "median time outside 1995 to 2100" in found:
        yield Look(
            "most times are outside of 1995 to 2100",
            "Give seconds or milliseconds since 1970, or ISO 8601, if you know them",
        )
    if share := found.get("share of tied times above 0.05"):
        yield Look(
            f"{100 * share:.1f} % of events share their time with another of their user",
            "None of them helps to predict another. Give finer times or, where the order of the "
            "files is the true one, --history_order=source",
        )
    wholes = _count_wholes(manifest)
    for name, limit in _LIMITS.items():
        number, whole = int(found.get(name, 0)), wholes[limit.whole]
        if number and number >= limit.share * whole:
            yield Look(f"{_of(number, whole)} {limit.what}", limit.advice)
    yield from _look_at_clicks(manifest["click_times"])


def _count_wholes(manifest: Mapping[str, Any]) -> dict[str, int]:
    counts, vocab = manifest["counts"], manifest["vocab"]
    alone = int(manifest["checks"]["warnings"].get("users in search only", 0))
    return {
        "rec": counts["rec_positives"],
        "search": counts["search"],
        "searchers": counts["users_in_both"] + alone,
        "items": vocab["items"],
        "queries": vocab["queries"],
    }


def _look_at_clicks(told: Mapping[str, Any]) -> Iterator[Look]:
    given, matched, unmatched = (told.get(name, 0) for name in ("given", "matched", "unmatched"))
    clicks = given + matched + unmatched
    if matched:
        yield Look(
            f"{_of(matched, clicks)} clicks have the time of the interaction that they are",
            "Are interactions the clicks themselves? If they are purchases, give `click_times`",
        )
    if unmatched > _UNMATCHED * clicks:
        yield Look(
            f"{_of(unmatched, clicks)} clicks are no interaction and count from their search on",
            "Give `click_times`, if you know them, or a wider --click_window",
        )


def _look_at_split(dataset: Dataset) -> Iterator[Look]:
    warm, where = mark_warm_items(dataset), f"{dataset.split}: "
    for task in TASKS:
        events, test = dataset.events(task), dataset.rows[task, "test"]
        users, cold = len(np.unique(events.user[test])), int((~warm[events.target[test]]).sum())
        if events.positive.any() and users < MIN_USERS:
            yield Look(
                f"{where}{users} users have a {task} test row, fewer than {MIN_USERS}",
                f"No figure of {task} can be concluded from: give more users",
            )
        if cold > _COLD * len(test):
            yield Look(
                f"{where}{_of(cold, len(test))} {task} test rows have an item of no train row",
                "A model of ids cannot know these: mind the slice `cold` of a run's results",
            )


def _of(number: int, whole: int) -> str:
    return f"{number:,} of {whole:,} ({100 * number / whole:.1f} %)"
