"""Measures speed.

    python -m launch.bench --all [--out=FILE.json]
    python -m launch.bench device --out=DIR [--minutes=8] [--bounds=FILE.json] [--small]
    python -m launch.bench data [--data=DIR | --preset=demo] [--history=30] [--out=FILE.json]
    python -m launch.bench lcr [--batch=1112] [--history=30] [--items=20000] [--out=FILE.json]
    python -m launch.bench gensr [--size=base] [--length=110] [--torch] [--out=FILE.json]
    python -m launch.bench sasrec [--batch=32] [--length=50] [--items=20000] [--out=FILE.json]
    python -m launch.bench levers [--config=FILE] [--batch=64] [--many=8] [--out=FILE.json]
    python -m launch.bench losses [--items=100000] [--rows=512] [--out=FILE.json]
    python -m launch.bench catalogue [--users=22700] [--items=673415] [--out=FILE.json]
    python -m launch.bench saves [--megabytes=250] [--folder=DIR] [--out=FILE.json]
    python -m launch.bench compile [--for=cpu|h100|v5e:4x4] [--programs=NAMES] [--out=FILE.json]
    python -m launch.bench pod --config=FILE [--topology=v5e:4x4] [--mesh=data:16] [--out=FILE.json]

The first word is the subject; `SUBJECT --help` lists its flags. `my_package:METHOD` measures a
method from outside of the project. `--all` runs all subjects with small arguments and gathers
their figures; `device` asks an accelerator all that only it can tell.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from common.errors import InputError
from common.runs.methods import PLACES
from launch.bench import catalogue, compiling, data, levers, losses, pod, saves
from launch.bench.all_subjects import run_all
from launch.bench.device import run_device
from launch.bench.machine import describe_machine
from launch.bench.speed import find_workload, open_method
from launch.bench.subjects import Subject, run_subject

SUBJECTS: dict[str, Subject] = {
    "data": data.SUBJECT,
    "lcr": open_method("lcr", "--blocks=5", "--steps=1"),
    "gensr": open_method(
        "gensr", "--size=mini", "--length=24", "--lists=4", "--blocks=5", "--steps=3"
    ),
    "sasrec": open_method("sasrec", "--blocks=5", "--steps=1"),
    "levers": levers.SUBJECT,
    "losses": losses.SUBJECT,
    "catalogue": catalogue.SUBJECT,
    "saves": saves.SUBJECT,
    "compile": compiling.SUBJECT,
    "pod": pod.SUBJECT,
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    name = argv[0] if argv else ""
    if name.lstrip("-") in ("h", "help"):
        print(f"{str(__doc__).strip()}\n\nsubjects: {', '.join(SUBJECTS)}; device")
        return 0
    if name == "--all":
        return run_all(argv[1:], SUBJECTS, describe_machine())
    if name == "device":
        return run_device(argv[1:], describe_machine())
    subject = open_method(name) if ":" in name else SUBJECTS.get(name)
    if subject is None:
        if name in PLACES:
            find_workload(name)  # says that there is none
        near = difflib.get_close_matches(name, SUBJECTS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(SUBJECTS)}, or --all"
        raise InputError(f"subject {name!r}: unknown; {hint}")
    print(describe_machine())
    run_subject(subject, argv[1:])
    return 0
