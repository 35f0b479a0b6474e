"""Speed of a method's training steps and of its scoring, on random data.

    python -m launch.bench lcr|gensr|sasrec [--blocks=5] [--steps=1] [--out=FILE.json]

The other flags are sizes of the workload, which is part of the method: `workload.py` in its
package. Times the step of each stage, and scoring where the workload has it, in turns: medians of
the timed blocks with their smallest and largest, after a block of warm-up; compiling is told
apart, and so is `init` with its compiling. Operations are counted twice, never mixed: by hand, the
matrix products that the formulas ask for (of a step three times the forward pass), and by XLA, all
that the compiled step does, but the body of a loop only once. The peak is that of a plain matrix
product in the same run, of the kind that the steps multiply with. --kernels lists what an
accelerator has run, and how long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from common.errors import InputError
from common.runs.methods import find_method
from common.runs.workload import SCORE, Workload
from common.settings.fields import setting
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import divide_blocks, print_kernels, print_step, say_spread, summarize


@dataclass(frozen=True)
class Pace:
    """How much is timed."""

    blocks: int = setting(5, "timed blocks of each program", least=3)
    steps: int = setting(1, "steps of a block", least=1)
    kernels: bool = setting(False, "list the kernels of each, where the platform tells them")


def open_method(name: str, *small: str) -> Subject:
    """The subject that measures a method. name: as of `find_method`"""
    return Subject(str(__doc__), partial(_open_flags, name), partial(measure, name), tell, small)


def find_workload(name: str) -> Workload:
    """The workload of a method. Raises InputError where it has none."""
    method = find_method(name)
    if method.workload is None:
        raise InputError(f"subject {name}: the method has no workload, see docs/add_a_method.md")
    return method.workload()


def _open_flags(name: str) -> Sequence[Any]:
    workload = find_workload(name)
    return Pace(workload.blocks, workload.steps), workload.sizes


def measure(name: str, pace: Pace, sizes: Any) -> Report:
    """Times all programs of a method's workload."""
    import jax

    from launch.bench.kernels import list_kernels
    from launch.bench.programs import Calls, Timed, compile_work, measure_peaks, time_in_turns

    work = find_workload(name).open(sizes)
    params, programs, init_seconds = compile_work(work)  # with all that is compiled for it
    beside: dict[str, Calls] = {}
    if work.reference:
        calls, wait = work.reference.calls, work.reference.wait
        beside = {name: Calls(call, wait) for name, call in calls.items()}
    timed: dict[str, Timed] = {**programs}
    timed |= {f"beside {name}": own for name, own in beside.items()}
    peaks = measure_peaks(pace.blocks)
    time_in_turns(timed, pace.blocks, pace.steps)
    steps, summary = {}, {}
    for name, program in programs.items():
        load = work.loads[name]
        exact = name == SCORE and work.dtype == "float32"
        peak = peaks.of("float32_highest" if exact else work.dtype)
        steps[name] = own = program.describe(load.rows, peak, load.flop)
        summary[f"{name} rows/s"] = own["rows_per_second"]
        if load.tokens:
            own["tokens_per_second"] = load.tokens * own["rows_per_second"]
        if load.flop:
            summary[f"{name} share of peak"] = own["analytic_share_of_peak"]
        summary[f"{name} ms/step"] = own["ms_per_step"]["median"]
    counted = {
        name: sum(array.size for array in jax.tree.leaves(part))
        for name, part in work.parts(params).items()
    }
    report = {
        **work.facts,
        "workload": work.words,
        "rows": {name: work.loads[name].rows for name in programs},
        "parameters": sum(counted.values()),
        "parameters_by_part": dict(sorted(counted.items(), key=lambda part: -part[1])),
        "parameter_dtype": "float32",
        "compute_dtype": work.dtype,
        "steps_per_block": pace.steps,
        **peaks.report(),
        "init_seconds": init_seconds,
        "steps": steps,
        "summary": summary,
    }
    times = {name: each.milliseconds for name, each in timed.items()}
    first, *later = (name for name in programs if name != SCORE)
    for name in later:
        report[f"{name}_over_{first}"] = divide_blocks(times[name], times[first])
    if work.reference:
        other = work.reference.name
        ratios = {name: divide_blocks(times[f"beside {name}"], times[name]) for name in beside}
        report |= {
            other: work.reference.versions,
            f"{other}_settings": dict(work.reference.settings),
            f"{other}_steps": {
                name: {
                    "ms_per_step": summarize(own.milliseconds),
                    "rows_per_second": 1e3 * work.loads[name].rows / median(own.milliseconds),
                    "first_seconds": own.first_seconds,
                }
                for name, own in beside.items()
            },
            f"speed_over_{other}": ratios,
        }
        summary |= {f"{name} speed over {other}": own["median"] for name, own in ratios.items()}
    summary["init s"] = init_seconds
    summary |= {f"{name} compile s": own["compile_seconds"] for name, own in steps.items()}
    tables = list_kernels(programs, pace.steps) if pace.kernels else {}
    report["kernel_tables"] = tables
    summary |= {
        f"{name} kernels/step": table["launches_per_step"] for name, table in tables.items()
    }
    return report


def tell(report: Report) -> None:
    """Prints a report."""
    print(f"workload: random, {report['workload']}")
    print(f"model: {report['parameters']:,} parameters, {report['compute_dtype']}")
    print("  " + ", ".join(f"{n} {count:,}" for n, count in report["parameters_by_part"].items()))
    print(f"init: {report['init_seconds']:.1f} s")
    for name, step in report["steps"].items():
        print_step(f"{name} ({report['rows'][name]:,} rows)", step, report)
        if "tokens_per_second" in step:
            print(f"  {step['tokens_per_second']:,.0f} tokens/s")
    for key, ratio in report.items():
        one, over, other = key.partition("_over_")
        if over and one in report["steps"]:
            spread = say_spread(ratio, ".2f")
            print(f"{one} / {other}: {ratio['median']:.2f} times the step time {spread}")
        elif over and one == "speed":
            for name, own in ratio.items():
                how = f"{own['median']:.2f} times the speed of {report[other]}"
                print(f"{name}: {how} {say_spread(own, '.2f')}")
            used = ", ".join(f"{key} {value}" for key, value in report[f"{other}_settings"].items())
            print(f"  {other} with {used}")
    print_kernels(report["kernel_tables"])
