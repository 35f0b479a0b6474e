"""What the text of a compiled program (HLO) tells: how many kernels, and which collectives."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = .*? ([a-z][a-z-]*)\(", re.M)
# The half of an asynchronous pair that begins it counts, the one that ends it does not.
_COLLECTIVE = re.compile(
    r"^\s+(?:ROOT )?%?[\w.-]+ = (.*?) "
    r"(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\("
    r"(?:.*?op_name=\"([^\"]*)\")?",
    re.M,
)
_ARRAY = re.compile(r"\b([a-z]+)(\d+)?\w*\[([\d,]*)\]")


def count_compiled(text: str) -> dict[str, int]:
    """compiled_instructions and all fusions; entry_fusions, copies and loops of the entry
    computation alone, which is what is launched one after the other."""
    entry = Counter(_INSTRUCTION.findall(text.rpartition("\nENTRY ")[2]))
    return {
        "compiled_instructions": text.count(" = "),
        "entry_fusions": entry["fusion"],
        "fusions": len(re.findall(r" fusion\(", text)),
        "copies": entry["copy"] + entry["copy-start"],
        "loops": entry["while"],
    }


def list_collectives(text: str) -> list[dict[str, Any]]:
    """The exchanges between devices, the largest first: kind, shape, bytes (of what a device has
    afterwards), count (times that it stands in the program) and source, the operation of the
    traced function that it comes from."""
    found: Counter[tuple[str, str, int, str]] = Counter()
    for result, kind, start, source in _COLLECTIVE.findall(text):
        arrays = [(name, bits, sizes) for name, bits, sizes in _ARRAY.findall(result)]
        if start and kind != "all-reduce" and result.startswith("("):
            arrays = arrays[len(arrays) // 2 :]  # behind what it was given
        shapes = [f"{name}{bits}[{sizes}]" for name, bits, sizes in arrays]
        size = sum(count_bytes(*array) for array in arrays)
        found[kind, " ".join(shapes), size, source.partition("/")[2]] += 1
    return [
        {"kind": kind, "shape": shape, "bytes": size, "count": count, "source": source}
        for (kind, shape, size, source), count in sorted(
            found.items(), key=lambda item: -item[0][2] * item[1]
        )
    ]


def count_bytes(kind: str, bits: str, sizes: str) -> int:
    """Of an array as HLO writes it: f32[4,8] is ("f", "32", "4,8"), and has 128."""
    width = max(int(bits or 8) // 8, 1)  # pred[8] has no number
    return width * math.prod(int(size) for size in sizes.split(",") if size)
