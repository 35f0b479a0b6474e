"""The printed report, made from `results.json` alone: at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.data.fingerprint import find_elsewhere
from common.ranking.alarms import MAX_TIE_RATE, find_alarms, tell_alarm
from common.ranking.report_slices import slice_lines, tell_score
from common.ranking.sanity import BASELINES

_COLUMNS = ("HR@1", "HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR")
_WITH_BOUNDS = ("HR@10", "NDCG@10")
_NAME, _PLAIN, _WIDE = 14, 8, 25


def find_problems(results: Mapping[str, Any], max_tie_rate: float = MAX_TIE_RATE) -> list[str]:
    """What keeps these results from being final, in words; a strict run fails on any of them."""
    return [tell_alarm(alarm) for alarm in find_alarms(results, max_tie_rate)]


def format_report(results: Mapping[str, Any], max_tie_rate: float = MAX_TIE_RATE) -> str:
    """The report as text: protocol, tables, slices, ties, speed, problems, what carried the score.

    Intervals are 95 % BCa bootstrap intervals over users.
    """
    lines = [*_protocol_lines(results), ""]
    for task, protocols in results["tasks"].items():
        for protocol in protocols:
            lines += [*_table_lines(results, task, protocol), ""]
    if results.get("evidence"):
        lines += [*_evidence_lines(results["evidence"]), ""]
    sliced = list(slice_lines(results))
    if sliced:
        lines += [*sliced, ""]
    lines.append(f"ties    {results['ties']['rate']:.3%} of the model's ranks (expected value)")
    speed = results["speed"]
    train = speed["train_examples_per_second"]
    lines.append(
        f"speed   {speed['eval_lists_per_second']:,.0f} lists/s ranked"
        + ("" if train is None else f", {train:,.0f} examples/s trained")
        + f"; {results['wall_seconds']:,.1f} s in all"
    )
    lines += find_problems(results, max_tie_rate)
    lines += tell_score(results)
    return "\n".join(lines) + "\n"


def _protocol_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers were measured on."""
    dataset, protocol = results["dataset"], results.get("protocol", {})
    yield f"data    {dataset['name']}  sha256 {dataset['sha256'][:12]}  seed {results['seed']}"
    if found := find_elsewhere(results):
        origin = results["trained_on"]
        yield f"trained on {origin['name']}, {origin['split']}, which is other data:"
        yield from (f"        {line}" for line in found)
    split = f"split   {results['split']}"
    for name, label in (
        ("part", "part"),
        ("history_order", "history by"),
        ("min_history", "min history"),
        ("filter_seen", "full leaves out"),
    ):
        if name in protocol:
            split += f"  {label} {protocol[name]}"
    yield split
    if "filter_reason" in protocol:
        yield f"filter  {protocol['filter_reason']}"
    model = [f"{results[name]}" for name in ("method", "stage") if name in results]
    if "parameters" in results:
        model.append(f"{results['parameters']:,} parameters")
    if model:
        yield "model   " + "  ".join(model)
    hashes = [f"{name} {sha[:12]}" for name, sha in protocol.get("candidates", {}).items()]
    for begin in range(0, len(hashes), 3):
        yield ("lists   " if begin == 0 else "        ") + "  ".join(hashes[begin : begin + 3])


def _table_lines(results: Mapping[str, Any], task: str, protocol: str) -> Iterator[str]:
    """The model beside the sanity baselines."""
    details = results.get("protocol", {})
    rows = details.get("rows", {}).get(task)
    yield f"{task} / {protocol}" + ("" if rows is None else f"  ({rows:,} rows)")
    found = details.get("retrieved", {}).get(f"{task}/{protocol}")
    if found is not None:
        step = f" (step {found['step']:,})" if "step" in found else ""
        yield (
            f"  {found['count']:,} items found by {found.get('by', 'a retriever')}{step}, ranked "
            f"again; recall of the target {found['recall']:.4f}"
        )
    head = "".join(f"{name:>{_WIDE if name in _WITH_BOUNDS else _PLAIN}}" for name in _COLUMNS)
    yield f"  {'':<{_NAME}}{head}"
    systems = {results.get("method", "model"): results["tasks"]}
    order = [name for name in BASELINES if name in results["sanity"]]
    order += [name for name in results["sanity"] if name not in BASELINES]
    systems |= {name: results["sanity"][name] for name in order}
    for name, table in systems.items():
        metrics = table.get(task, {}).get(protocol)
        if metrics is not None:
            yield f"  {name[:_NAME]:<{_NAME}}" + "".join(_cell(metrics, c) for c in _COLUMNS)


def _cell(metrics: Mapping[str, Any], name: str) -> str:
    """One metric, with its bounds where the column has room for them."""
    entry = metrics[name]
    if name not in _WITH_BOUNDS:
        return f"{entry['value']:>{_PLAIN}.4f}"
    return f"{entry['value']:>{_WIDE - 17}.4f} [{entry['low']:.4f}, {entry['high']:.4f}]"


def _evidence_lines(evidence: Mapping[str, Any]) -> Iterator[str]:
    """Whether the model looks at the searches that matter, against reference scorers."""
    lists = evidence.get("lists", {})
    scorers = {name: figures for name, figures in evidence.items() if name != "lists"}
    names = list(dict.fromkeys(name for figures in scorers.values() for name in figures))
    counts = ", ".join(f"{count:,} for {name}" for name, count in lists.items())
    yield "evidence (AUC of planted useful searches, 0.5 = chance" + (
        f"; lists: {counts})" if counts else ")"
    )
    yield f"  {'':<{_NAME}}" + "".join(f"{name:>{_WIDE}}" for name in names)
    for scorer, figures in scorers.items():
        cells = (
            _cell({_WITH_BOUNDS[0]: figures[name]}, _WITH_BOUNDS[0])
            if figures.get(name, {}).get("value") is not None
            else f"{'-':>{_WIDE}}"  # no pair of searches to compare
            for name in names
        )
        yield f"  {scorer[:_NAME]:<{_NAME}}" + "".join(cells)
