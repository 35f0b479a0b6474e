"""All readers that are fuzzed."""

from __future__ import annotations

import source_readers
import stored_readers

READERS = [*source_readers.READERS, *stored_readers.READERS]
