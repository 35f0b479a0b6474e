"""All readers that are fuzzed."""

from __future__ import annotations

import model_readers
import source_readers
import stored_readers

READERS = [*source_readers.READERS, *stored_readers.READERS, *model_readers.READERS]
# Their files have no checksums yet, so a flipped bit may be read as another number.
WEAK = frozenset({"checkpoints: go on", "checkpoints: evaluate"})
