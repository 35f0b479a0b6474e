"""Puts several finished runs into one table: means over seeds and paired differences.

    python -m launch.compare --run="LCR:runs/lcr/seed*" --run="K=0:runs/k0/seed*" --out=reports/k0
    python -m launch.compare --run=A:runs/a --run=B:runs/b --against=B --metrics=HR@10 --out=DIR

Each --run is NAME:WORKDIRS. The workdirs, separated by commas, may be patterns; a pattern takes
the folders that hold a results.json. The first --run is the reference unless --against names
another. Writes compare.md, compare.json and compare.png. Exit code 2: bad input, such as runs on
different data.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import InputError
from common.files import make_folder, take_folder, write_beside
from common.printable import printable
from common.ranking.alarms import repeat_alarms, tell_few
from common.ranking.comparable import Run
from common.ranking.compare import RESAMPLES, compare_methods, find_doubts
from common.ranking.metrics import METRICS
from common.runs.folder import read_run
from common.runs.methods import find_stored
from common.runs.ranked import read_ranked
from common.runs.workdirs import match_workdirs
from common.settings.reading import flatten
from common.settings.roles import find_roles
from launch.command import parse_flags, run_command
from launch.compare_report import draw_comparison, format_comparison

_FREE = "eval.batch_size"  # how a run was judged, which makes no other method


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string(
        "run", [], "NAME:WORKDIR[,WORKDIR ...]; once per method", flag_values=values
    )
    flags.DEFINE_string("against", None, "reference method; default: the first", flag_values=values)
    flags.DEFINE_string("out", None, "folder of the report", flag_values=values)
    flags.DEFINE_string("task", "rec", "rec or search", flag_values=values)
    flags.DEFINE_string("protocol", "full", "as in results.json", flag_values=values)
    flags.DEFINE_list("metrics", ["NDCG@10", "HR@10"], "metrics to compare", flag_values=values)
    flags.DEFINE_integer("resamples", RESAMPLES, "bootstrap samples", 100, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of the resampling", 0, flag_values=values)
    flags.DEFINE_bool("picture", True, "draw compare.png", flag_values=values)
    parse_flags(values, argv, __doc__)
    if not values.run:
        raise InputError('--run: missing; give one per method, such as --run="LCR:runs/lcr/seed*"')
    if not values.out:
        raise InputError("--out: missing; give a folder for the report, such as reports/lcr")
    out = take_folder(values.out, "out")
    for metric in values.metrics:
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, 1) or METRICS
            raise InputError(f"--metrics={metric}: no such metric; did you mean {near[0]}?")

    methods: dict[str, list[Run]] = {}
    configs: dict[str, dict[str, Any]] = {}
    for argument in values.run:
        name, workdirs = find_workdirs(argument)
        if name in methods:
            raise InputError(f"--run={name}: given twice; list its workdirs in one --run")
        methods[name] = [read_ranked(path, values.task, values.protocol) for path in workdirs]
        configs[name] = read_settings(name, methods[name])
    comparison = compare_methods(
        methods,
        values.against or next(iter(methods)),
        values.task,
        values.protocol,
        values.metrics,
        seed=values.seed,
        resamples=values.resamples,
    )
    comparison["notes"] = [
        *repeat_alarms(
            {name: [run.results for run in runs] for name, runs in methods.items()},
            values.task,
            values.protocol,
        ),
        *filter(None, [tell_few(comparison["rows"], comparison["users"])]),
        *find_doubts(comparison),
        *find_twins(configs),
    ]
    text = format_comparison(comparison)
    print(printable(text))
    write_report(out, comparison, text, values.picture)
    print(f"report: {out / 'compare.md'}", file=sys.stderr)
    return 0


def find_workdirs(argument: str) -> tuple[str, list[Path]]:
    """The name and the workdirs of one `--run=NAME:WORKDIRS`, patterns resolved, in order.

    Raises InputError for another form, and for a pattern without any run.
    """
    name, colon, places = (part.strip() for part in argument.partition(":"))
    if not (name and colon and places):
        raise InputError(
            f'--run={argument}: not of the form NAME:WORKDIRS, such as "LCR:runs/lcr/seed*"'
        )
    found: list[Path] = []
    for place in filter(None, (part.strip() for part in places.split(","))):
        found += match_workdirs(place, f"--run={name}")
    return name, found


def read_settings(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """The configuration that the runs of one method share, without their seeds.

    How a run was judged is what its results say: it may have been evaluated again since.
    Raises InputError naming the key in which two of them differ: that would be two methods.
    """
    shared: dict[str, Any] | None = None
    for run in runs:
        settings, _ = read_run(Path(run.path) / "config.json")
        roles = find_roles(find_stored(settings.get("method")).settings)
        config = {
            key: value
            for key, value in flatten(settings).items()
            if roles.get(key, "run") in ("run", "content")
        }
        config |= run.results.get("evaluation", {})
        seed = f"seed{config.pop('seed', 0)}"  # a run may start from the run of the same seed
        config = {
            key: value.replace(seed, "seed*") if isinstance(value, str) else value
            for key, value in config.items()
            if key != _FREE
        }
        shared = config if shared is None else shared
        for key in sorted(shared.keys() | config.keys()):
            if shared.get(key) != config.get(key):
                raise InputError(
                    f"--run={name}: config.{key} is {shared.get(key)!r} in {runs[0].path} and "
                    f"{config.get(key)!r} in {run.path}; give each setting its own --run"
                )
    return shared or {}


def find_twins(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A note for every method whose configuration is that of an earlier one."""
    names = list(configs)
    return [
        f"{earlier} and {name} have the same configuration."
        for place, name in enumerate(names)
        for earlier in names[:place]
        if configs[name] == configs[earlier]
    ]


def write_report(out: Path, comparison: Mapping[str, Any], text: str, picture: bool) -> None:
    """Writes compare.json, compare.md and compare.png into the folder.

    Raises InputError without matplotlib, after the texts.
    """
    make_folder(out)
    if picture:
        text += "\n![Intervals](compare.png)\n"
    write_beside(out / "compare.json", json.dumps(comparison, indent=1, allow_nan=False) + "\n")
    write_beside(out / "compare.md", text)
    if picture:
        draw_comparison(out / "compare.png", comparison)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
