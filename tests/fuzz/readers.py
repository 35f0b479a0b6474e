"""All readers that are fuzzed."""

from __future__ import annotations

import model_readers
import source_readers
import stored_readers

READERS = [*source_readers.READERS, *stored_readers.READERS, *model_readers.READERS]
