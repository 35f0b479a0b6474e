"""How many parameters a GenSR model has, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

# The released code also holds arrays that take part in nothing: both view layers a second time,
# and positions that are never added. Its totals count them; the published mode does not make them.
DEAD_IN_RELEASE = {
    "cf_view, second copy": 25_216,
    "semantic_view, second copy": 3_546_624,
    "positions of cf_view": 1_280,
}


class ParamReport(NamedTuple):
    """Numbers of parameters by part."""

    parts: dict[str, int]  # of the model's tree: "t5", "cf_view", "projector", ...
    dead: dict[str, int]  # counted by the release, not made here

    @property
    def live(self) -> int:
        """Of the parts together."""
        return sum(self.parts.values())

    @property
    def total(self) -> int:
        """With the dead ones."""
        return self.live + sum(self.dead.values())


def param_report(model: Mapping[str, Any], released: bool = False) -> ParamReport:
    """Counts the parameters of a model, the largest part first.

    model: the tree under "model" of a task's parameters; arrays or shapes
    released: adds what the released code counts beside; right for the published mode at the
        released sizes (CF width 64, flan-t5-base, 20 items)
    """
    counts = {name: _count(part) for name, part in model.items()}
    parts = dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
    return ParamReport(parts, dict(DEAD_IN_RELEASE) if released else {})


def _count(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
