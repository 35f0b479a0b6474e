"""A comparison as text and as a picture: Markdown that a terminal and a README can both show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.data.fingerprint import find_elsewhere
from common.ranking.evidence import FIGURES
from common.report.pictures import COLORS, open_figure, plain
from common.report.tables import format_bounds, format_markdown

_OTHERS, _REFERENCE, _SEED = COLORS[0], COLORS[1], "#888888"


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """The whole report as Markdown: what was compared, a table per metric, evidence, notes."""
    data = comparison["dataset"]
    parts = [
        f"**{comparison['task']}, {comparison['protocol']}**: {data['name']} "
        f"(sha256 {data['sha256'][:12]}), {comparison['split']}, {comparison['rows']:,} test rows "
        f"of {comparison['users']:,} users.\n"
    ]
    if found := find_elsewhere(comparison):
        parts.append(
            f"**Trained on other data**: {comparison['trained_on']['name']}, "
            f"{comparison['trained_on']['split']} ({'; '.join(found)}).\n"
        )
    parts += [_metric_table(comparison, metric) for metric in comparison["metrics"]]
    if any(method["evidence"] for method in comparison["methods"].values()):
        parts.append(_evidence_table(comparison))
    notes = [
        f"Brackets: 95 % BCa bootstrap over users, {comparison['resamples']:,} resamples, of each "
        "row's mean over seeds; differences are paired. They hold the trained models fixed: what "
        'other seeds would give is in "seed SD" and, for a difference, in "seed SE".',
        f"p: {comparison['flips']:,} sign flips of per-user differences, corrected by Holm for all "
        "comparisons of these tables.",
        *comparison.get("notes", ()),
    ]
    return "\n".join(parts) + "\n" + "".join(f"- {note}\n" for note in notes)


def _metric_table(comparison: Mapping[str, Any], metric: str) -> str:
    reference = comparison["reference"]
    head = ["method", "seeds", metric, "seed SD"]
    if len(comparison["methods"]) > 1:
        head += [f"minus {reference}", "relative", "seed SE", "p (Holm)"]
    rows = []
    for name, method in comparison["methods"].items():
        entry = method["metrics"][metric]
        row = [_escape(name), str(len(method["seeds"])), format_bounds(entry)]
        row.append(_number(entry["seed_sd"], ".5f"))
        if len(head) > 4:
            change = method.get("differences", {}).get(metric, {})
            row += [
                format_bounds(change or None, sign=True),
                _number(change.get("relative"), "+.1%"),
                _number(change.get("seed_se"), ".5f"),
                _number(change.get("p_holm"), ".4f"),
            ]
        rows.append(row)
    return format_markdown([_escape(cell) for cell in head], rows, aligned=True)


def _evidence_table(comparison: Mapping[str, Any]) -> str:
    """Mean over seeds and the lowest lower bound; the control is fed another user's searches."""
    swapped = any("swapped" in m["evidence"] for m in comparison["methods"].values())
    head = ["evidence", *FIGURES, *(["auc_pair_age, swapped"] if swapped else [])]
    rows = []
    for name, method in comparison["methods"].items():
        if not method["evidence"]:
            continue
        ours, control = (method["evidence"].get(scorer, {}) for scorer in ("model", "swapped"))
        cells = [_evidence(ours.get(figure)) for figure in FIGURES]
        if swapped:
            cells.append(_number(control.get("auc_pair_age", {}).get("value"), ".3f"))
        rows.append([_escape(name), *cells])
    return format_markdown(head, rows, aligned=True)


def _evidence(entry: Mapping[str, float] | None) -> str:
    return "-" if entry is None else f"{entry['value']:.3f} (lowest bound {entry['lowest']:.3f})"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def draw_comparison(path: Path, comparison: Mapping[str, Any]) -> None:
    """Draws the intervals as a PNG: per metric the values with their seeds, and the differences.

    Raises InputError without matplotlib.
    """
    methods, metrics = comparison["methods"], comparison["metrics"]
    columns = 2 if len(methods) > 1 else 1
    height = len(metrics) * (0.9 + 0.34 * len(methods)) + 0.5
    title = (
        f"{comparison['dataset']['name']}, {comparison['split']}, {comparison['task']} / "
        f"{comparison['protocol']}, {comparison['rows']:,} rows"
    )
    with open_figure(path, 1.0 + 4.4 * columns, height, title) as figure:
        panels = figure.subplots(len(metrics), columns, squeeze=False)
        for row, metric in zip(panels, metrics, strict=True):
            _draw_values(row[0], comparison, metric)
            if columns == 2:
                _draw_differences(row[1], comparison, metric)


def _draw_values(panel: Any, comparison: Mapping[str, Any], metric: str) -> None:
    for place, name, method in _places(comparison):
        entry = method["metrics"][metric]
        colour = _REFERENCE if name == comparison["reference"] else _OTHERS
        _draw_interval(panel, place, entry, colour)
        seeds = entry["by_seed"]
        if len(seeds) > 1:
            panel.plot(seeds, [place - 0.22] * len(seeds), "|", color=_SEED, markersize=7)
    several = any(len(m["seeds"]) > 1 for m in comparison["methods"].values())
    panel.set_title(metric + (" (ticks below: seeds)" if several else ""), fontsize=9)
    names = [plain(name) for name in comparison["methods"]]
    panel.set_yticks(range(len(names)), names[::-1])
    _trim(panel, len(comparison["methods"]))


def _draw_differences(panel: Any, comparison: Mapping[str, Any], metric: str) -> None:
    panel.axvline(0, color=_REFERENCE, linewidth=1)
    for place, _, method in _places(comparison):
        if "differences" in method:
            _draw_interval(panel, place, method["differences"][metric], _OTHERS)
    panel.set_title(f"{metric} minus {comparison['reference']}, paired", fontsize=9)
    panel.set_yticks(range(len(comparison["methods"])), [""] * len(comparison["methods"]))
    _trim(panel, len(comparison["methods"]))


def _places(comparison: Mapping[str, Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Each method with its height: the first on top."""
    methods = comparison["methods"]
    for place, (name, method) in enumerate(methods.items()):
        yield len(methods) - 1 - place, name, method


def _draw_interval(panel: Any, place: int, entry: Mapping[str, float], colour: str) -> None:
    panel.plot([entry["low"], entry["high"]], [place, place], color=colour, linewidth=2)
    panel.plot([entry["value"]], [place], "o", color=colour, markersize=5)


def _trim(panel: Any, count: int) -> None:
    panel.set_ylim(-0.6, count - 0.4)
    panel.locator_params(axis="x", nbins=5)
    panel.tick_params(labelsize=8)
    panel.grid(axis="x", linewidth=0.4, color="#dddddd")
    panel.set_axisbelow(True)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
