"""What `bench device` measures, the most important first, and how long it may take to compile."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.json_files import read_json

# Seconds to compile ahead for an H100, on 2 CPU cores, 2026-11-28; by `bench compile` and
# --bounds where a newer report is at hand. The card itself took up to twice as long.
BOUNDS = {
    "lcr init": 3.2,
    "lcr supervised": 53.0,
    "lcr reinforce": 77.0,
    "gensr-base init": 5.5,
    "gensr-base tune": 68.0,
    "gensr-base score": 15.0,
}


class Case(NamedTuple):
    """A subject with the arguments that it is measured with."""

    name: str
    subject: str
    words: tuple[str, ...]
    small: tuple[str, ...]  # instead of `words`, to try the command on a CPU
    programs: tuple[str, ...] = ()  # what it compiles, as `bench compile` names it
    packages: tuple[str, ...] = ()  # that have to be installed

    def bound(self, bounds: Mapping[str, float]) -> float | None:
        """Seconds to compile what has a bound; None where nothing has."""
        known = [bounds[name] for name in self.programs if name in bounds]
        return sum(known) if known else None

    @property
    def missing(self) -> list[str]:
        """Packages that it needs and that are not there."""
        return [name for name in self.packages if find_spec(name) is None]


_LCR = ("lcr init", "lcr supervised", "lcr reinforce")
_GENSR = ("gensr-base init", "gensr-base tune", "gensr-base score")
_SMALL_GENSR = ("--size=mini", "--length=16", "--lists=2", "--blocks=3")
_LOOP = ("--config=lcr_jax/configs/demo.py", "--many=8", "--steps=240", "--blocks=2")
_SMALL_LOOP = (
    "--config=baselines_jax/configs/sasrec_tiny.py", "--preset=tiny", "--batch=8", "--many=2",
    "--steps=2", "--blocks=1",
)  # fmt: skip

CASES = (
    Case(
        "lcr", "lcr", ("--blocks=7", "--steps=20", "--kernels"),
        ("--batch=8", "--history=3", "--items=30", "--queries=10", "--width=4", "--reasoning=1",
         "--steps=1", "--blocks=3", "--kernels"),
        _LCR,
    ),
    Case(
        "gensr", "gensr", ("--size=base", "--blocks=5", "--steps=3", "--kernels"), _SMALL_GENSR,
        _GENSR,
    ),
    Case(
        "softmax", "losses", ("--items=1000000", "--rows=4096", "--blocks=5", "--kernels"),
        ("--items=50", "--rows=8", "--width=4", "--negatives=3"),
    ),
    Case("loop", "levers", (*_LOOP, "--batch=64"), _SMALL_LOOP),
    Case("loop_large", "levers", (*_LOOP, "--batch=1536"), _SMALL_LOOP),
    Case(
        "catalogue", "catalogue", ("--users=22700", "--items=673415"),
        ("--users=101", "--items=300", "--batch=4", "--width=4", "--seen=3"),
    ),
    Case(
        "gensr_torch", "gensr", ("--size=base", "--blocks=5", "--steps=3", "--torch"),
        (*_SMALL_GENSR, "--torch"), _GENSR, ("torch", "transformers"),
    ),
)  # fmt: skip


def choose_cases(names: str) -> Sequence[Case]:
    """The cases of a list with commas, "" = all. Raises InputError for a name that there is not."""
    known = {case.name: case for case in CASES}
    for name in filter(None, names.split(",")):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"use some of {', '.join(known)}"
            raise InputError(f"--cases={names}: no case {name!r}; {hint}")
    chosen = set(filter(None, names.split(","))) or set(known)
    return [case for case in CASES if case.name in chosen]


def read_bounds(file: str) -> Mapping[str, float]:
    """Seconds to compile by the name of a program, from a report of `bench compile`.

    file: "" = those of `BOUNDS`. Raises InputError for a file of another form.
    """
    if not file:
        return BOUNDS
    mend = "give a report of `python -m launch.bench compile --for=h100 --out=FILE.json`"
    report = read_json(Path(file), mend)
    try:
        return {str(one["name"]): float(one["compile_seconds"]) for one in report["programs"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"--bounds={file}: has no list `programs` with times; {mend}") from error
