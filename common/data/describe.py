"""A dataset in words: the figures that `launch.prepare` prints.

Shapes: [n] rows of a part
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.data.audit_faults import Figure
from common.data.click_times import describe_click_times
from common.data.cold import mark_warm_items
from common.data.dataset import Dataset
from common.data.events import PARTS, TASKS

QUANTILES = (25, 50, 75, 95, 100)


def describe_dataset(manifest: Mapping[str, Any]) -> list[Figure]:
    """What holds for all splits, as name and value: sizes, time, notes and warnings."""
    counts, vocab, time = manifest["counts"], manifest["vocab"], manifest["time"]
    lines = [
        ("users", f"{vocab['users']:,}, {counts['users_in_both']:,} of them in both services"),
        ("items", f"{vocab['items']:,}"),
        ("queries", f"{vocab['queries']:,} of {vocab['tokens']:,} words"),
        ("rec", f"{counts['rec']:,} events, {counts['rec_positives']:,} of them positive"),
        ("search", f"{counts['search']:,} events, {counts['search_positives']:,} with a click"),
        ("time", f"resolution {time['resolution']}, {100 * time['tie_share']:.1f} % of events "
         "tied with another of their user"),
        ("history", f"order {manifest['history_order']}"),
        *(("clicks", line) for line in describe_click_times(manifest["click_times"])),
        *(("note", note) for note in manifest["notes"]),
    ]  # fmt: skip
    for name, filtered in manifest["filters"].items():
        if not isinstance(filtered, Mapping):
            lines += [("filter", f"{name}: {filtered:,}")] if filtered else []
        elif filtered["before"] != filtered["after"]:
            before, after = filtered["before"], filtered["after"]
            lines.append(("filter", f"{name}: {after:,} of {before:,} kept"))
    warnings = manifest["checks"]["warnings"]
    return lines + [("count", f"{name}: {value:,}") for name, value in warnings.items()]


def describe_split(dataset: Dataset) -> list[Figure]:
    """The rows of a split, how long their histories are, and what training has not seen."""
    warm = mark_warm_items(dataset)
    lines = [("split", dataset.split)]
    for task in TASKS:
        events = dataset.events(task)
        rows = {part: dataset.rows[task, part] for part in PARTS}
        sizes = ", ".join(f"{part} {len(rows[part]):,}" for part in PARTS)
        unused = int(events.positive.sum()) - sum(map(len, rows.values()))
        lines.append((f"{task} rows", f"{sizes}; {unused:,} positives are history only"))
        test = rows["test"]
        if not len(test):
            continue
        rec_end, search_end, rec_start, search_start = dataset.timeline.ends(task, test)
        before = (
            f"{_quantiles(lengths)} {name}"
            for lengths, name in (
                (rec_end - rec_start, "rec"),
                (search_end - search_start, "search"),
            )
        )
        shares = "/".join(map(str, QUANTILES))
        lines.append(
            (f"{task} history", f"events before a test row ({shares} %): {', '.join(before)}")
        )
        target = events.target[test]
        cold = ~warm[target]
        lines.append(
            (f"{task} cold", f"test rows whose item no train row has: {int(cold.sum()):,} "
             f"({100 * cold.mean():.1f} %), {len(np.unique(target[cold])):,} items")
        )  # fmt: skip
    kinds = ", ".join(dataset.manifest["candidates"].get(dataset.split, {})) or "none"
    return [*lines, ("lists", kinds)]


def _quantiles(lengths: np.ndarray) -> str:
    return "/".join(str(int(q)) for q in np.percentile(lengths, QUANTILES, method="lower"))
