"""Rewrites: one function for each format, which changes a value and writes the file anew."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from damage import DEEP, LONG, damage

JSON_VALUES: tuple[Any, ...] = (
    None, True, [], {}, "", "x", -1, 0, 5, 0.5, 2**31, 2**63, 10**30, 1e308, float("nan"),
    float("inf"), "\ud83d", "x" * LONG, [["x"]], [None], {"a": None}, "../../etc/passwd", "a\nb",
    "\u202e\x1b[2J", [[[[]]]], {"": {"a.b": 1}}, "*", "null", 1_700_000_000, list(range(3000)),
)  # fmt: skip
TEXTS = (
    "", " ", '"', 'a"b', '""', "a\nb", "a\r\nb", "\0", "\ufeff", "é", "\u202e", "\u2028",
    "x" * LONG,
    "1e400", "nan", "inf", "-1", "0", "1", "20231114", "99999999999999999999", "2024-02-30",
    "2024-02-28", "2024-02-28T10:00:00Z", "1700000000.5", "1700000000000", "1.7e9", "a|b", "a b",
    "i1", "i1|i2", "i1 i1", ">", "A > B", "null", "None", "true", "2", "0x10", "1_000", "\t", ",",
    "7258118400", "253402300800", "=1+1",
)  # fmt: skip
SHAPES = ("(-1,)", "(10**9,)", "((((", "(1000000000000,)", "()", "(0,)", "(True,)", "(4,4)", "[4]",
          "(1.5,)", "(99999999999999999999,)")  # fmt: skip
DTYPES = ("<f8", "<U2", "|O", "<i4", ">i8", "<M8[s]", "|V8", "<c16", "|S99999999")


def change_json(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One value or key of a JSON text."""
    tree = json.loads(content)
    holders = list(_find_holders(tree))
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    match rng.randrange(6):
        case 0:
            del holder[key]
            return f"without {key}", json.dumps(tree).encode()
        case 1:
            other = rng.choice(holders)
            place = rng.choice(list(other) if isinstance(other, dict) else range(len(other)))
            holder[key] = other[place]
            return f"{key} = {place}", json.dumps(json.loads(_copy(tree))).encode()
        case 2:
            mark = "fuzz mark"
            holder[key] = mark
            deep = rng.choice((DEEP, 150))
            inner = rng.choice(
                ("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "1e999")
            )
            return f"{key} = nested {deep}", json.dumps(tree).replace(f'"{mark}"', inner).encode()
        case 3 if isinstance(holder, dict):
            name = rng.choice(("", "a.b", "__class__", "\ud83d", "*", "x" * 5000, f"{key} "))
            holder[name] = holder.pop(key)
            return f"{key} renamed", json.dumps(tree).encode()
        case 4 if isinstance(holder, dict):
            mark, value = "fuzz mark", json.dumps(rng.choice(JSON_VALUES))
            holder[mark] = 1
            return f"{key} twice", json.dumps(tree).replace(
                f'"{mark}": 1', f"{json.dumps(key)}: {value}"
            ).encode()
        case _:
            holder[key] = rng.choice(JSON_VALUES)
            return f"{key} = {str(holder[key])[:20]!r}", json.dumps(tree).encode()


def change_json_lines(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One line of JSON lines: changed, twice, gone, or with another."""
    lines = content.decode().splitlines()
    row = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(rng.randrange(len(lines)), lines[row])
            return f"line {row} twice", "\n".join(lines).encode()
        case 1:
            lines[row] = rng.choice(("", "null", "[]", "5", "[" * DEEP, '{"a": 1}', "NaN", "{}"))
            return f"line {row} = {lines[row][:9]}", "\n".join(lines).encode()
        case _:
            kind, changed = change_json(lines[row].encode(), rng)
            lines[row] = changed.decode()
            return f"line {row}, {kind}", ("\n".join(lines) + "\n").encode()


def change_csv(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Cells, columns, rows, quotes or the encoding of a CSV or TSV file."""
    comma = "\t" if content.partition(b"\n")[0].count(b"\t") else ","
    rows = list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=comma))
    row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
    text, kind = rng.choice(TEXTS), f"row {row}, column {column}"
    quoted, end, encoding = True, rng.choice(("\n", "\n", "\r\n", "\r")), "utf-8"
    match rng.randrange(10):
        case 0 | 1 | 2:
            rows[row][column] = text
        case 3:
            rows[row][column], quoted = text, False
        case 4:
            rows[row] = rows[row][:column] if rng.random() < 0.5 else [*rows[row], text]
        case 5:
            other = rng.randrange(len(rows[0]))
            for cells in rows if rng.random() < 0.5 else rows[:1]:
                cells[column], cells[other] = cells[other], cells[column]
        case 6:
            rows[0] += [f"c{i}" for i in range(rng.choice((1, 3000)))]
        case 7:
            rows = [rows[0], *(rows[1:] * rng.choice((2, 40)))]
        case 8:
            encoding = rng.choice(("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"))
            rows[row][column] = "\u00e9"
        case _:
            for cells in rows[1:]:
                cells[column] = text
            kind = f"column {column}"
    out = io.StringIO(newline="")
    if quoted:
        csv.writer(out, delimiter=comma, lineterminator=end).writerows(rows)
    else:
        out.write("".join(comma.join(cells) + end for cells in rows))
    return f"{kind}: {text[:12]!r} {encoding} {end!r}", out.getvalue().encode(encoding, "replace")


def change_npy(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The header of a .npy file, or its array as another kind of array."""
    array = np.load(io.BytesIO(content))
    if rng.random() < 0.5:
        size = struct.unpack("<H", content[8:10])[0]
        old = content[10 : 10 + size].decode()
        place = rng.choice(("shape", "descr", "fortran"))
        if place == "shape":
            shape = rng.choice(SHAPES)
            new = old[: old.index("(")] + shape + ", }"
        elif place == "descr":
            descr = rng.choice(
                ("<f8", "<U2", "|O", "<i4", ">i8", "<M8[s]", "|V8", "<c16", "|S99999999")
            )
            new = old.replace(array.dtype.str, descr)
        else:
            new = old.replace("False", rng.choice(("True", "None", "5", "open('x')")))
        packed = new.rstrip().ljust(size - 1).encode() + b"\n"
        version = rng.choice((b"\1\0", b"\1\0", b"\1\0", b"\3\0", b"\x09\0"))
        head = content[:6] + version + struct.pack("<H", len(packed))
        return f"header: {new[:60]}", head + packed + content[10 + size :]
    made: Callable[[], np.ndarray] = rng.choice((
        lambda: array[:-1], lambda: array[::-1], lambda: array.astype(np.float32),
        lambda: array.astype("U"), lambda: array[None], lambda: array.astype(np.int32) + 1,
        lambda: array * 0 - 1, lambda: np.concatenate([array, array]),
        lambda: array.astype(np.int64) * 0 + 2**62,
        lambda: array.astype(np.uint8), lambda: array.astype(">i8"), lambda: array[:0],
    ))  # fmt: skip
    out = io.BytesIO()
    np.save(out, made())
    return "array of another kind", out.getvalue()


def change_safetensors(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The JSON header of a safetensors file, and the size that it says it has."""
    size = struct.unpack("<Q", content[:8])[0]
    kind, header = change_json(content[8 : 8 + size], rng)
    said = rng.choice((len(header),) * 5 + (0, 2**62, 2**64 - 1, len(content)))
    return f"header: {kind}, size {said}", struct.pack("<Q", said) + header + content[8 + size :]


def change_gzip(
    content: bytes, rng: random.Random, rewrite: Callable[..., Any]
) -> tuple[str, bytes]:
    """What a gzip file holds, packed again."""
    plain = gzip.decompress(content)
    kind, changed = (rewrite or damage)(plain, rng) if rng.random() < 0.8 else damage(plain, rng)
    return f"unpacked: {kind}", gzip.compress(changed, 1, mtime=0)


def change_literals(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One line of Python literals, as Amazon's metadata are."""
    lines = content.decode().splitlines()
    row = rng.randrange(len(lines))
    as_json = json.dumps(ast.literal_eval(lines[row])).encode()
    kind, changed = change_json(as_json, rng)
    try:
        lines[row] = repr(json.loads(changed))
    except (ValueError, RecursionError):
        lines[row] = changed.decode()
    return f"line {row}, {kind}", ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def change_words(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Words of a text file, such as an order file."""
    lines = [line.split() for line in content.decode().splitlines()]
    row = rng.randrange(len(lines))
    column = rng.randrange(len(lines[row]))
    match rng.randrange(4):
        case 0:
            lines[row][column] = rng.choice(TEXTS)
        case 1:
            rng.shuffle(lines[row])
        case 2:
            del lines[row][column]
        case _:
            lines.insert(0, lines[row])
    return f"row {row}, word {column}", "\n".join(map(" ".join, lines)).encode()


def _find_holders(tree: Any) -> Any:
    """Every dictionary and list that is not empty."""
    if isinstance(tree, dict | list) and tree:
        yield tree
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _find_holders(inner)


def _copy(tree: Any) -> str:
    try:
        return json.dumps(tree)
    except ValueError:  # it now holds itself
        return "{}"
