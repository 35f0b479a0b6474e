"""How long the programs of both methods take to compile, and how large they become.

    python -m launch.bench compile [--for=cpu] [--programs=lcr,gensr-base init] [--out=FILE.json]

Nothing runs, and no device need be there: --for=h100 compiles for an NVIDIA H100, --for=v5e:4x4 (or
any other TPU slice) for all chips of the slice, each with the rows that one device would have. The
CUDA compiler comes with the wheels jax-cuda13-plugin and jax-cuda13-pjrt, that for TPUs with the
extra `pod`. Sizes are those of `bench lcr` and of `bench gensr --size=base`. Counts are the same
everywhere, seconds are this machine's; a card takes longer, as kernels are tuned on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.errors import InputError
from common.settings.fields import setting
from launch.bench.levers import empty_cache
from launch.bench.speed import find_workload
from launch.bench.subjects import Report, Subject

# Name in a report -> method, the size of its workload where it has several, its programs
_WORK = {
    "lcr": ("lcr", "", ("init", "supervised", "reinforce")),
    "gensr-base": ("gensr", "base", ("init", "tune", "score")),
}
PROGRAMS = tuple(f"{name} {own}" for name, (_, _, programs) in _WORK.items() for own in programs)


@dataclass(frozen=True)
class Flags:
    """For what, and which."""

    for_: str = setting("cpu", "cpu, h100, or a TPU slice, such as v5e:4x4")
    programs: str = setting("", "names, or their first words, with commas; empty = all")


def choose_programs(text: str) -> list[str]:
    """The programs of --programs: a name, or the first word of several. Raises InputError."""
    if not text:
        return list(PROGRAMS)
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not any(f"{name} ".startswith(f"{word} ") for name in PROGRAMS):
            raise InputError(f"--programs: no program {word!r}; use {', '.join(PROGRAMS)}")
    return [name for name in PROGRAMS if any(f"{name} ".startswith(f"{word} ") for word in words)]


def measure(flags: Flags) -> Report:
    """Compiles the programs, one after the other, and prints each as it comes."""
    chosen = choose_programs(flags.programs)
    from common.platform import made_for
    from launch.bench.ahead import (
        compile_program,
        find_platform_of,
        list_programs,
        open_mesh,
    )

    mesh = open_mesh(flags.for_, flag="--for")
    reports = []
    with made_for(find_platform_of(flags.for_)), empty_cache():
        for name, (method, size, _) in _WORK.items():
            own = [each.partition(" ")[2] for each in chosen if each.startswith(f"{name} ")]
            if not own:
                continue
            workload = find_workload(method)
            sizes = replace(workload.sizes, size=size) if size else workload.sizes
            work = workload.open(sizes)
            batches = {key: load.batch for key, load in work.loads.items()}
            programs = list_programs(work.task, batches, mesh, copies=mesh.size)
            for program in own:
                figures, _ = compile_program(programs[program])
                reports.append({"name": f"{name} {program}", **figures})
                print(format_figures(reports[-1]), flush=True)
    return {
        "programs": reports,
        "summary": {f"{each['name']}, compile s": each["compile_seconds"] for each in reports},
    }


def format_figures(figures: Mapping[str, Any]) -> str:
    """One program, in a line."""
    return (
        f"{figures['name']}: {figures['operations']:,} operations, {figures['dots']:,} dots; "
        f"compiled {figures['compiled_instructions']:,} instructions, {figures['fusions']:,} "
        f"fusions ({figures['entry_fusions']:,} in the entry), {figures['copies']:,} copies, "
        f"{figures['loops']:,} loops, {figures['temporary_bytes'] / 1e6:,.0f} MB temporary; trace "
        f"{figures['trace_seconds']:.1f} s, lower {figures['lower_seconds']:.1f} s, compile "
        f"{figures['compile_seconds']:.1f} s"
    )


def tell(report: Report) -> None:
    """Prints the end of a report: its programs were printed as they came."""
    seconds = sum(each["compile_seconds"] for each in report["programs"])
    print(f"compiled for {report['for']}: {len(report['programs'])} programs in {seconds:.0f} s")


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, ("--programs=lcr init",))
