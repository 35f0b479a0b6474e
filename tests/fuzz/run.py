"""Reads thousands of changed files and prints what came of them, a row for each reader.

    python tests/fuzz/run.py --count=1250 --seed=0 [--only=CSV,Parquet]

Exit code 1 where anything but a clean outcome came up; the inputs are named on stderr, and
`--only=CSV --first=NUMBER --count=1` reads one of them again. Ends after a fault by a signal with
a traceback of where it was.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", default="", help="names of readers, separated by commas")
    values = parser.parse_args()
    faulthandler.enable()
    logging.disable()

    from outcomes import FAULTS, OUTCOMES, fuzz_reader
    from readers import READERS

    wanted = [name for name in values.only.split(",") if name]
    print(f"| reader | n | {' | '.join(OUTCOMES)} | s |")
    print("|---" * (len(OUTCOMES) + 3) + "|", flush=True)
    bad = 0
    for reader in READERS:
        if wanted and not any(name in reader.name for name in wanted):
            continue
        with tempfile.TemporaryDirectory(prefix="snr_jax_fuzz_") as folder:
            faulthandler.dump_traceback_later(60 + values.count, exit=True)
            counts = fuzz_reader(reader, Path(folder), values.count, values.seed, values.first)
            faulthandler.cancel_dump_traceback_later()
        row = " | ".join(str(counts.number[outcome]) for outcome in OUTCOMES)
        print(f"| {reader.name} | {values.count} | {row} | {counts.seconds:.0f} |", flush=True)
        for line in counts.faults:
            print(f"{reader.name}: {line}", file=sys.stderr)
        bad += sum(counts.number[outcome] for outcome in FAULTS)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
