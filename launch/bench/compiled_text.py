"""What the text of a compiled program (HLO) tells: how many kernels, and which collectives."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]  # of our code
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = .*? ([a-z][a-z-]*)\(", re.M)
_COLLECTIVE = re.compile(
    r"^\s+(?:ROOT )?%?[\w.-]+ = (.*?) "
    r"(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\((.*)$",
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
    afterwards), count, operation of the traced function that it comes from, and line of our code.

    One that goes on beside other work stands in the text once for each part of that work, always
    with the same channel, and is counted once.
    """
    frames = read_frames(text)
    found = set()
    for result, kind, start, rest in _COLLECTIVE.findall(text):
        arrays = _ARRAY.findall(result)
        if start and kind != "all-reduce" and result.startswith("("):
            arrays = [array for array in arrays if array != ("u", "32", "")]  # its own state
            arrays = arrays[len(arrays) // 2 :]  # behind what it was given
        shape = " ".join(f"{name}{bits}[{sizes}]" for name, bits, sizes in arrays)
        size = sum(count_bytes(*array) for array in arrays)
        operation = _find(r'op_name="([^"]*)"', rest).partition("/")[2]
        line = frames.get(_find(r"stack_frame_id=(\d+)", rest), "")
        found.add((kind, shape, size, operation, line, _find(r"channel_id=(\d+)", rest)))
    keys = ("kind", "shape", "bytes", "operation", "line", "count")
    counted = Counter(each[:-1] for each in found).items()
    return [
        dict(zip(keys, (*each, count), strict=True))
        for each, count in sorted(counted, key=lambda item: (-item[0][2], item[0]))
    ]


def read_frames(text: str) -> dict[str, str]:
    """The line of code of each stack frame that a program's text lists, as "lcr_jax/losses.py:90";
    nothing where the text has no such tables."""
    tables = {
        name: dict(re.findall(r"^(\d+) (.*)$", body, re.M))
        for name, body in re.findall(r"^(File\w+|StackFrames)\n((?:\d+ .*\n)*)", text, re.M)
    }
    names, lines = tables.get("FileNames", {}), {}
    for number, place in tables.get("FileLocations", {}).items():
        path = Path(names[_find(r"file_name_id=(\d+)", place)].strip('"'))
        short = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
        line = _find(r" line=(\d+)", place)
        lines[number] = f"{short}:{line}"
    return {
        number: lines[_find(r"file_location_id=(\d+)", frame)]
        for number, frame in tables.get("StackFrames", {}).items()
    }


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def count_bytes(kind: str, bits: str, sizes: str) -> int:
    """Of an array as HLO writes it: f32[4,8] is ("f", "32", "4,8"), and has 128."""
    width = max(int(bits or 8) // 8, 1)  # pred[8] has no number
    return width * math.prod(int(size) for size in sizes.split(",") if size)
