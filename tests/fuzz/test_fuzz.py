"""Two hundred changed files for each reader; docs/reliability.md tells what counts as what.

A fault is found again by the command that the failure names.
"""

from __future__ import annotations

import pytest
from outcomes import FAULTS, Reader, fuzz_reader
from readers import READERS

COUNT, SEED = 200, 0


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_changed_files_are_told_or_read_as_what_they_are(reader: Reader, tmp_path):
    counts = fuzz_reader(reader, tmp_path, COUNT, SEED)
    assert counts.number.total() == COUNT
    again = (
        f"python tests/fuzz/run.py --seed={SEED} --only='{reader.name}' --first=NUMBER --count=1"
    )
    assert not counts.faults, "\n".join([f"{again}, with the NUMBER of", *counts.faults])
    assert not set(counts.number) & set(FAULTS)
