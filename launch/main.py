"""Trains and evaluates a method.

    python -m launch.main --config=FILE[:arg] [--config.KEY=VALUE ...] --workdir=DIR
    python -m launch.main --workdir=DIR --mode=evaluate [--config.eval.KEY=VALUE ...]
    python -m launch.main --workdir=DIR --mode=evaluate --evaluate_on=OTHER_DATASET
    python -m launch.main --workdir=DIR --mode=explain --users=ID,ID,...
    python -m launch.main --config=FILE --workdir=DIR --cluster
    python -m launch.main --config=FILE --help_config

A workdir that holds the same run goes on from its newest checkpoint. Ctrl-C and SIGTERM save
first. Without --config, evaluate and explain take the configuration that the workdir holds; keys
of config.eval are free there. Exit codes: 0 done, 1 a loss or a score was not finite, or a file
could not be written (a full disk), 2 bad input, 130 or 143 stopped by Ctrl-C or SIGTERM after
saving (start the same command again to go on).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from common.configs.making import make_config
from common.errors import InputError
from common.files import take_folder
from common.runs.methods import settle
from common.settings.pages import format_keys
from launch.command import parse_flags, run_command
from launch.config import ConfigWords, split_config
from launch.processes import (
    define_process_flags,
    join_processes,
    leaving_the_others,
    read_process_flags,
)


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code.

    Raises InputError for bad input, FloatingPointError when a loss or a score is not finite,
    WriteError for what cannot be written.
    """
    values = flags.FlagValues()
    flags.DEFINE_string(
        "config", None, "config file, FILE[:arg]; its keys are --config.KEY", flag_values=values
    )
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=values)
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "evaluate", "explain"],
        "train (then evaluate); or evaluate the best checkpoint; or explain what it does for users",
        flag_values=values,
    )
    flags.DEFINE_string(
        "users",
        None,
        "for explain: raw ids of the dataset's source, or #17 for its dense id 17",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "count", 20, "for explain: items that are recommended", 1, flag_values=values
    )
    flags.DEFINE_bool("picture", True, "for explain: draw them, too", flag_values=values)
    flags.DEFINE_string(
        "evaluate_on",
        None,
        "for evaluate: another dataset folder to judge on, with the same users, items and queries",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "help_config", False, "show every key of --config with its value", flag_values=values
    )
    flags.DEFINE_bool("strict", False, "exit 1 when a sanity check fails", flag_values=values)
    flags.DEFINE_bool("tensorboard", True, "write TensorBoard events", flag_values=values)
    define_process_flags(values)
    if any(word.lstrip("-") in ("h", "help") for word in argv):
        parse_flags(values, argv, __doc__)
    words = split_config(argv)
    parse_flags(values, words.rest, __doc__)
    if values.help_config:
        print(format_keys(settle(words.make())))
        return 0
    if not values.workdir:
        raise InputError("--workdir: missing; give a folder for this run, such as runs/demo")
    if (values.users is not None) != (values.mode == "explain"):
        mend = "" if values.users is not None else "; give users"
        raise InputError(
            f"--users: goes with --mode=explain{mend}, as in --mode=explain --users=ID,ID"
        )
    if values.evaluate_on and values.mode != "evaluate":
        raise InputError("--evaluate_on: goes with --mode=evaluate; train on --config.data.path")
    workdir = take_folder(values.workdir, "workdir")
    config = read_config(words, workdir, values.mode)
    # XLA's CPU client logs at start and when preempted; what matters is printed by the run.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    joined = read_process_flags(values)
    if values.mode == "explain" and (joined.coordinator or joined.cluster):
        raise InputError("--mode=explain: runs in one process; leave out --cluster, --coordinator")
    join_processes(joined)
    if values.mode == "explain":
        from launch.explain import explain_run

        return explain_run(config, workdir, values.users, values.count, values.picture)
    from common.runs.run import (
        run_method,  # imports jax, which --help and bad flags need not wait for
    )

    with leaving_the_others():
        return run_method(
            config,
            workdir,
            mode=values.mode,
            strict=values.strict,
            tensorboard=values.tensorboard,
            evaluate_on=values.evaluate_on or "",
        )


def read_config(words: ConfigWords, workdir: Path, mode: str) -> ConfigDict:
    """The configuration: of --config, or the workdir's own where nothing is trained.

    Raises InputError as `ConfigWords.make`, and for a workdir without a run.
    """
    if words.file or mode == "train":
        return words.make()
    if not (workdir / "config.json").exists():
        raise InputError(f"{workdir}: no run to {mode}; train first, or give another --workdir")
    from common.runs.folder import open_folder  # numpy and pyarrow: --help need not wait for them

    return words.make(make_config(open_folder(workdir.name, workdir).config))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
