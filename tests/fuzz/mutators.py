"""Changed files, drawn from a seed: one mutator for each format, and files of a wrong kind.

Damage changes bytes as a disk or a copy does: bits, cuts, slices. A rewrite changes values and
writes the file anew, as a program with another idea of the format does: types, sizes, nesting,
swapped fields.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import parquet_changes

WRONG_FILES = ("missing", "folder", "pipe", "loop", "device", "empty")
DEEP, LONG = 200_000, 300_000
SIGNS = b"{}[]\",:0-9e.n\\\xff\0(|\n\r\t'"
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


class Change(NamedTuple):
    """What one input is: a file with another content, or with none."""

    name: str  # of the file, below the folder
    kind: str  # how it was changed, for messages
    content: bytes | None  # None = one of `WRONG_FILES`, which is the kind
    damage: bool  # bytes were changed, so a checksum has to find it


def draw_change(
    files: Mapping[str, bytes], rng: random.Random, wrong: Sequence[str] = WRONG_FILES
) -> Change:
    """One change of one of the files. Equal seeds give equal changes.

    wrong: kinds of wrong files that may be drawn
    """
    end = rng.choice(sorted({Path(name).suffix for name in files}))  # few files are as likely
    name = rng.choice(sorted(name for name in files if Path(name).suffix == end))
    content, sort = files[name], rng.random()
    if sort < 0.04:
        return Change(name, rng.choice(wrong), None, False)
    if sort < 0.08:
        other = rng.choice(sorted(files))
        return Change(name, f"swapped with {other}", files[other], True)
    rewrite = _rewriter(name)
    if rewrite is None or sort < 0.5:
        kind, changed = damage(content, rng)
        return Change(name, kind, changed, True)
    kind, changed = rewrite(content, rng)
    return Change(name, kind, changed, False)


def apply_change(folder: Path, change: Change) -> None:
    """Puts a change in the place of its file."""
    path = folder / change.name
    path.unlink()
    if change.content is not None:
        path.write_bytes(change.content)
    elif change.kind == "folder":
        path.mkdir()
    elif change.kind == "pipe":
        os.mkfifo(path)
    elif change.kind == "loop":
        path.symlink_to(path)
    elif change.kind == "device":
        path.symlink_to("/dev/zero")
    elif change.kind == "empty":
        path.write_bytes(b"")


def undo_change(folder: Path, change: Change, files: Mapping[str, bytes]) -> None:
    """Puts the file back as it was."""
    path = folder / change.name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files[change.name])


def damage(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Bytes changed at a drawn place."""
    if not content:
        return "a byte", b"\0"
    place, size = rng.randrange(len(content)), rng.choice((1, 2, 8, 20, 200))
    some = content[place : place + size]
    match rng.randrange(9):
        case 0 | 1:
            changed = bytes([content[place] ^ 1 << rng.randrange(8)])
            return f"bit at {place}", content[:place] + changed + content[place + 1 :]
        case 2:
            return f"byte at {place}", content[:place] + bytes([rng.choice(SIGNS)]) + content[
                place + 1 :
            ]
        case 3:
            return f"cut at {place}", content[:place]
        case 4:
            return f"{size} twice at {place}", content[:place] + some + content[place:]
        case 5:
            return f"{size} gone at {place}", content[:place] + content[place + size :]
        case 6:
            zeros = bytes(len(some)) if rng.random() < 0.5 else rng.randbytes(len(some))
            return f"{size} other at {place}", content[:place] + zeros + content[place + size :]
        case 7:
            more = rng.choice((b"\0", b"\n", b"x" * LONG, bytes(4096), b"\xff\xfe"))
            return f"{len(more)} more at the end", content + more
        case _:
            block = rng.choice((b"", b"[" * DEEP, b'{"a":' * DEEP, b"null", b"[]", b"5", b"\xff"))
            return f"replaced by {block[:8]!r}", block


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


def _rewriter(name: str) -> Callable[..., tuple[str, bytes]] | None:
    if name.endswith(".gz"):
        inner = _rewriter(name.removesuffix(".gz"))
        if "_Toys" in name:  # Amazon's endings say .json
            inner = change_json_lines if name.startswith("reviews") else change_literals
        return lambda content, rng: change_gzip(content, rng, inner)
    ends = {
        ".jsonl": change_json_lines,
        ".json": change_json,
        "metadata": change_json,
        ".csv": change_csv,
        ".tsv": change_csv,
        ".npy": change_npy,
        ".parquet": parquet_changes.change_parquet,
        ".safetensors": change_safetensors,
        ".txt": change_words,
    }
    return next((rewrite for end, rewrite in ends.items() if name.endswith(end)), None)


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
