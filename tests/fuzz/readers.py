"""All readers that are fuzzed."""

from __future__ import annotations

import model_readers
import source_readers
import stored_readers

READERS = [*source_readers.READERS, *stored_readers.READERS, *model_readers.READERS]
# Their files have no checksums yet: a flipped bit may be read as another number, and Orbax parses
# metadata that nobody has looked at. Silent and traceback are counted there, and do not fail.
WEAK = frozenset({"checkpoints: go on", "checkpoints: evaluate"})
