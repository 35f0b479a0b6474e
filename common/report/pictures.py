"""Pictures with matplotlib, which is an extra: `pip install snr-jax[report]`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import InputError, writing

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
LABEL = 44  # characters of a row label


@contextmanager
def open_figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Gives an empty figure of that many inches; saves it beside `path`, then renames.

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
    beside = path.with_name(path.name + ".tmp")
    with writing(path):
        figure.savefig(beside, format="png", dpi=140, facecolor="white")
        beside.replace(path)


def plain(text: str) -> str:
    """Text that is shown as it is: matplotlib reads dollar signs as mathematics."""
    return text.replace("$", r"\$")
