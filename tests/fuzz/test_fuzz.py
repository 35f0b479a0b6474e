"""Two hundred changed files for each reader; docs/reliability.md tells what counts as what.

A fault is found again by the command that the failure names.
"""

from __future__ import annotations

import pytest
from outcomes import FAULTS, OTHER, TRACEBACK, Reader, fuzz_reader
from readers import READERS, WEAK

COUNT, SEED = 200, 0


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_changed_files_are_told_or_read_as_what_they_are(reader: Reader, tmp_path):
    counts = fuzz_reader(reader, tmp_path, COUNT, SEED)
    assert counts.number.total() == COUNT
    allowed = {OTHER, TRACEBACK} if reader.name in WEAK else set()
    bad = [line for line in counts.faults if line.split(": ")[1] not in allowed]
    again = (
        f"python tests/fuzz/run.py --seed={SEED} --only='{reader.name}' --first=NUMBER --count=1"
    )
    assert not bad, "\n".join([f"{again}, with the NUMBER of", *bad])
    assert not set(counts.number) & set(FAULTS) - allowed
