"""Pictures with matplotlib, which is an extra: `pip install snr-jax[report]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError, writing

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
LABEL = 44  # characters of a row label


@contextmanager
def open_figure(path: Path, width: float, height: float, title: str) -> Iterator[Any]:
    """Gives an empty figure of that many inches; saves it beside `path`, then renames.

    title: of the whole figure; its panels get no frame at their top and right
    Raises InputError where matplotlib is not installed, WriteError.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise InputError(
            f"{path.name}: matplotlib is not installed, so there is no picture (the texts are "
            "written); pip install snr-jax[report]"
        ) from None
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # no display, and no state outside of this figure
    yield figure
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title), fontsize=10)
    beside = path.with_name(path.name + ".tmp")
    with writing(path):
        figure.savefig(beside, format="png", dpi=140, facecolor="white")
        beside.replace(path)


def draw_intervals(
    panel: Any,
    places: Iterable[float],
    entries: Iterable[Mapping[str, Any]],
    number: int,
    *,
    upright: bool = False,
    bar: float = 0.0,
    **style: Any,
) -> None:
    """One series of values with their bounds, in the colour of its number.

    entries: {"value", "low", "high"} each; those without a value are left out
    places: of the entries, on the other axis; upright: values are heights
    bar: width of bars; 0 = points
    """
    known = [(at, e) for at, e in zip(places, entries, strict=True) if e["value"] is not None]
    at, values = [at for at, _ in known], [e["value"] for _, e in known]
    ends = [[e["value"] - e["low"] for _, e in known], [e["high"] - e["value"] for _, e in known]]
    style |= {"color": COLORS[number % len(COLORS)], "yerr" if upright else "xerr": ends}
    if bar:
        draw = panel.bar if upright else panel.barh
        draw(at, values, bar, error_kw={"capsize": 2, "linewidth": 0.9}, **style)
    else:
        both = (at, values) if upright else (values, at)
        panel.errorbar(*both, **{"marker": "o", "capsize": 2} | style)


def draw_heat(panel: Any, grid: np.ndarray, top: float) -> Any:
    """Numbers [rows, columns] from 0 to `top`, each written into its cell. Returns the image."""
    image = panel.imshow(grid, cmap="Blues", vmin=0.0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                   color="white" if value > 0.6 * top else "black")  # fmt: skip
    return image


def plain(text: str) -> str:
    """Text that is shown as it is: matplotlib reads dollar signs as mathematics."""
    return text.replace("$", r"\$")
