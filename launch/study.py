"""Studies of trained runs: each writes a table, a picture and its numbers.

    python -m launch.study noise --runs=LCR=DIR,K=0=DIR,SASRec=DIR --out=DIR
    python -m launch.study conflict --runs=GenSR=DIR,twin=DIR --out=DIR

of LCR
  noise        other users' searches are put into the histories: how much does the ranking lose?
  masking      the search with the most, a random, or the least evidence is taken out
  steps        models with other numbers of steps K, and one model (--readout=NAME) read after each
  swap         each user is fed another user's searches: evidence figures must fall to 0.5
of GenSR
  plateau      rows until the task loss is below that of a constant answer
  query        searches are ranked without their query, and with that of another search
  conflict     do the tasks' gradients point the same way while a model is trained?
  information  what the inputs say about the label, and what the last state keeps of them
  space        do the two tasks use other parameters and other states?

Runs are workdirs of launch.main on the same dataset and split; a name given again adds another
seed of that method. Writes OUT/STUDY.md, STUDY.json and STUDY.png.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence

from absl import flags

from common.errors import InputError
from common.files import make_folder, take_folder, write_beside
from common.printable import printable
from common.runs.methods import PLACES, find_method
from launch.command import parse_flags, run_command

# Study -> its module, which stands with the method that it is of.
STUDIES = {study: module for name in PLACES for study, module in find_method(name).studies.items()}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code.

    Raises InputError for bad input, FloatingPointError when a score is not finite.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("runs", None, "NAME=WORKDIR,NAME=WORKDIR,...", flag_values=values)
    flags.DEFINE_string("out", None, "folder of the report", flag_values=values)
    flags.DEFINE_string("data", "", "dataset folder; default: the first run's", flag_values=values)
    flags.DEFINE_integer("draws", 5, "repeats of every random choice", 1, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of draws and resampling", 0, flag_values=values)
    flags.DEFINE_integer("batch_size", 512, "rows per batch", 1, flag_values=values)
    flags.DEFINE_string(
        "readout", None, "steps: the method to read after each step", flag_values=values
    )
    study, *rest = [*argv, ""]
    if study.lstrip("-") in ("h", "help"):
        parse_flags(values, ["--help"], __doc__)
    if study not in STUDIES:
        raise InputError(f"study {study!r}: unknown; use one of {', '.join(STUDIES)}")
    parse_flags(values, rest[:-1], __doc__)
    for name in ("runs", "out"):
        if not values[name].value:
            raise InputError(f"--{name}: missing; --help shows the form")
    out = take_folder(values.out, "out")  # before hours of work
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as launch.main
    # Imports jax, which --help and bad flags need not wait for.
    from common.runs.measures import open_request

    request = open_request(
        values.runs, values.data, values.draws, values.seed, values.batch_size, values.readout
    )
    module = importlib.import_module(STUDIES[study])
    results = {"study": study, **request.describe(), **module.measure(request)}
    table = f"# {study}\n\n{module.format_table(results)}"
    print(printable(table), flush=True)
    make_folder(out)
    content = json.dumps(results, indent=1, allow_nan=False) + "\n"
    write_beside(out / f"{study}.json", content)
    write_beside(out / f"{study}.md", table)
    module.draw(out / f"{study}.png", results)
    print(f"study: {out / study}.md, .json, .png", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
