"""Runs one configuration for several seeds, settings and ablations, one after the other.

    python -m launch.sweep --config=FILE[:arg] --workdir=DIR --seeds=0,1,2
    python -m launch.sweep --config=FILE --workdir=DIR --set=reasoner.steps=0,1,2,3,4,6
    python -m launch.sweep --config=FILE --workdir=DIR --args=plain,no_gate,no_search

Every point is a `launch.main` of its own, in DIR/[ARG/][KEY=VALUE/]seedN: a finished one is
skipped, an interrupted one goes on. `plain` is the config as it is. {seed} in a --config.KEY=VALUE
stands for the seed of the point, as in --config.second.start=runs/lcr/seed{seed}. Prints a line for
each point at the end: what the *validation* part said, best first, and the workdir. Test rows
choose nothing here. The first point that fails stops the sweep and gives the exit code.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from absl import flags

from common.data.fingerprint import describe_folder
from common.data.loading import check_split_name, read_manifest
from common.errors import InputError
from common.files import take_folder
from common.json_files import read_json, take
from common.runs.config_file import find_file, split_argument
from common.runs.folder import check_workdir, find_data, was_judged
from common.runs.methods import settle
from launch.command import parse_flags, run_command
from launch.config import take_config
from launch.snr import child_words

PLAIN = "plain"


class Point(NamedTuple):
    """One run of a sweep."""

    workdir: Path
    words: list[str]  # --config... of its command line


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "folder above the runs' own", flag_values=values)
    flags.DEFINE_list("seeds", ["0"], "seeds, such as 0,1,2", flag_values=values)
    flags.DEFINE_multi_string(
        "set", [], "KEY=V1,V2,...: values to try; several --set are crossed", flag_values=values
    )
    flags.DEFINE_list("args", [], "config arguments to try; plain = none", flag_values=values)
    flags.DEFINE_bool("tensorboard", True, "write TensorBoard events", flag_values=values)
    if any(word.lstrip("-") in ("h", "help") for word in argv):
        parse_flags(values, argv, __doc__)
    given = [word for word in argv if word.lstrip("-").startswith(("config=", "config."))]
    parse_flags(values, [word for word in argv if word not in given], __doc__)
    if not values.workdir:
        raise InputError("--workdir: missing; give a folder for the runs, such as runs/lcr")
    take_folder(values.workdir, "workdir")
    points = plan_points(given, Path(values.workdir), values.args, values.set, values.seeds)
    done = [is_finished(point) for point in points]  # and with them all bad input is known
    more = [] if values.tensorboard else ["--notensorboard"]
    for number, (point, finished) in enumerate(zip(points, done, strict=True), 1):
        state = "finished already" if finished else " ".join(point.words)
        print(f"[{number}/{len(points)}] {point.workdir}: {state}", file=sys.stderr)
        if finished:
            continue
        code = run_point([*point.words, f"--workdir={point.workdir}", *more])
        if code:
            # The run has told its error, in one line that begins so.
            print(f"stopped: {point.workdir} ended with exit code {code}", file=sys.stderr)
            return code
    print("\n".join(list_points(points)))
    return 0


def list_points(points: Sequence[Point]) -> list[str]:
    """A line for each point: its validation metric, best first, and its workdir.

    A method without training has none, which is told on stderr; its points stand last.
    """
    found: list[tuple[float, str, Path]] = []
    untrained = False
    for point in points:
        results = read_json(point.workdir / "results.json", "evaluate again")
        told = take({"model": {}} | results, "model", dict, "results.json", "evaluate again")
        values = told.get("validation") or {}
        name, value = next(iter(values.items()), ("", -math.inf))
        found.append((float(value), f"{name} {value:.4f}" if name else "-", point.workdir))
        untrained |= not told
    if untrained:
        print("-: no validation figure, as nothing is trained", file=sys.stderr)
    found.sort(key=lambda entry: -entry[0])
    width = max(len(words) for _, words, _ in found)
    return [f"{words:<{width}}  {workdir}" for _, words, workdir in found]


def plan_points(
    given: Sequence[str],
    workdir: Path,
    args: Sequence[str],
    settings: Sequence[str],
    seeds: Sequence[str],
) -> list[Point]:
    """All combinations: config arguments, then settings, then seeds (the fastest).

    given: the words --config=FILE[:arg] and --config.KEY=VALUE of every point
    settings: "KEY=V1,V2" each
    Raises InputError for a setting of another form, for seeds that are no numbers, and for what
    comes twice.
    """
    for seed in seeds:
        if not seed.strip().isdecimal():
            raise InputError(f"--seeds={','.join(seeds)}: {seed!r} is no seed; use numbers: 0,1,2")
    if not seeds:
        raise InputError("--seeds: names none; use numbers, such as 0,1,2")
    _refuse_twice("--seeds", [str(int(seed)) for seed in seeds])
    _refuse_twice("--args", args)
    axes: list[list[str]] = []
    for setting in settings:
        key, equals, choices = setting.removeprefix("config.").partition("=")
        if not (key and equals and choices):
            raise InputError(f"--set={setting}: not of the form KEY=V1,V2, as reasoner.steps=1,2")
        _refuse_twice(f"--set={setting}", choices.split(","))
        if any(pair.startswith(f"{key}=") for axis in axes for pair in axis):
            raise InputError(f"--set={setting}: {key} was set before; give its values in one --set")
        axes.append([f"{key}={choice}" for choice in choices.split(",")])
    points = []
    for arg, *chosen, seed in itertools.product(args or [""], *axes, map(str.strip, seeds)):
        folder = workdir.joinpath(*filter(None, [arg]), *chosen, f"seed{seed}")
        words = [_join_arg(word, "" if arg == PLAIN else arg) for word in given]
        words = [word.replace("{seed}", seed) for word in words]
        words += [f"--config.{pair}" for pair in chosen]
        points.append(Point(folder, [*words, f"--config.seed={seed}"]))
    return points


def _refuse_twice(where: str, values: Sequence[str]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise InputError(f"{where}: {value} comes twice; name it once")


def _join_arg(word: str, arg: str) -> str:
    """Adds a config argument to --config=FILE[:arg]; other words stay."""
    if not arg or not word.lstrip("-").startswith("config="):
        return word
    file, given = split_argument(word.partition("=")[2], lambda text: find_file(text) is not None)
    return f"--config={file}:{given}+{arg}" if given else f"--config={file}:{arg}"


def is_finished(point: Point) -> bool:
    """Whether the point's workdir has the results of this very run, judged as it says and on the
    lists that the dataset has now.

    Raises InputError for a bad configuration, a folder without a dataset, and for a workdir that
    holds another run.
    """
    config = settle(take_config(point.words)[0])
    path = find_data(config)
    manifest = read_manifest(path)
    check_split_name(path, manifest, config.data.split)
    data = describe_folder(manifest, config.data.split)
    if not check_workdir(point.workdir, config, data):
        return False
    return was_judged(point.workdir / "results.json", config, data)


def run_point(words: Sequence[str]) -> int:
    """Runs `launch.main` in a process of its own; returns its exit code.

    Ctrl-C and SIGTERM are passed on, so that the run can save.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that came before the run had started

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # A session of its own: the terminal's Ctrl-C would reach it twice, and that means at once.
        child = subprocess.Popen(
            child_words("main", words),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        for number in early:
            child.send_signal(number)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code  # killed by a signal: as a shell says it


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
