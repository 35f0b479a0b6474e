"""Where the time of a program goes on an accelerator: its kernels, from JAX's profiler."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from launch.bench.programs import Timed

_SHOWN = 40  # kernels of a table
# Of a GPU what its streams have run, of a TPU the operations of its one core. A CPU has no such
# line: what its threads do is no kernel.
_LINES = r"/device:\S+ (Stream.*|XLA Ops)"


def list_kernels(programs: Mapping[str, Timed], steps: int) -> dict[str, Any]:
    """A table of kernels for each program, as from `read_kernels`, of `steps` steps of each.

    {} where the platform gives none. After the programs have been timed: a profiler slows them.
    """
    tables = {}
    for name, program in programs.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                with jax.profiler.trace(folder):
                    program.run_block(steps)
                table = read_kernels(Path(folder), steps)
            except RuntimeError as error:  # JAX's: what has been timed is not lost with it
                print(f"{name}: no kernels: {error}")
                continue
            program.milliseconds.pop()
            if table:
                tables[name] = table
    return tables


def read_kernels(folder: Path, steps: int, lines: str = _LINES) -> dict[str, Any]:
    """The kernels of a profile, those first that take the most time.

    folder: of `jax.profiler.trace`; steps: how often the program ran in it
    lines:  of the profile, as a regular expression of "PLANE LINE"
    Returns launches_per_step, ms_per_step and kernels, a list of {name, calls_per_step,
    ms_per_step}; {} where there is no such line.
    """
    calls: dict[str, int] = defaultdict(int)
    spent: dict[str, float] = defaultdict(float)
    for file in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for line in plane.lines:
                if re.fullmatch(lines, f"{plane.name} {line.name}"):
                    for event in line.events:
                        calls[event.name] += 1
                        spent[event.name] += event.duration_ns
    if not calls:
        return {}
    return {
        "launches_per_step": sum(calls.values()) / steps,
        "ms_per_step": sum(spent.values()) / steps / 1e6,
        "kernels": [
            {
                "name": name,
                "calls_per_step": calls[name] / steps,
                "ms_per_step": spent[name] / steps / 1e6,
            }
            for name in sorted(spent, key=spent.__getitem__, reverse=True)[:_SHOWN]
        ],
    }
