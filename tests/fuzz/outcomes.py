"""What comes of changed files: each is read in this process, with its time and memory measured.

refused          InputError (or CutShort): one line, or a head and one line for each fault
same             read, and the content is that of the file as it was
another valid    read, and a second reading by other code (see `second.py`) finds the same content
told             read with other content, and a warning says so
silently other   read with other content that nothing tells: a fault of the program
traceback        anything else was raised, or the line is no line
slow, large      more than 5 s, or more than 1 GB of memory beyond what the process had
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutators import WRONG_FILES, Change, apply_change, draw_change, undo_change

from common.errors import InputError
from common.training.checkpoints import CutShort

REFUSED, SAME, VALID, TOLD = "refused", "same", "another valid", "told"
OTHER, TRACEBACK, SLOW, LARGE = "silently other", "traceback", "slow", "large"
FAULTS = (TRACEBACK, OTHER, SLOW, LARGE)
OUTCOMES = (REFUSED, SAME, VALID, TOLD, *FAULTS)
SECONDS, MEGABYTES = 5.0, 1000
_GIVE_UP = 60  # seconds by the clock on the wall
_LONGEST_LINE = 5000  # characters of a message: forty names of tensors


class _Hang(Exception):
    """A reader did not come back."""


class Content(NamedTuple):
    """What a reader made of its files."""

    compared: Any  # with the second reading
    more: Any = None  # what only this reader knows
    told: bool = False  # a warning was given


class Reader(NamedTuple):
    """A reader of files on disk."""

    name: str
    make: Callable[[Path], None]  # writes its files into an empty folder
    read: Callable[[Path], Content]  # raises InputError
    files: Callable[[str], bool] = lambda name: True  # which of them are changed
    second: Callable[[Path], Any] | None = None  # reads what is there by other code
    checksummed: bool = False  # what was damaged must be found, whatever it looks like
    restore: bool = False  # reading changes the folder
    wrong: tuple[str, ...] = WRONG_FILES  # kinds of wrong files that are tried


@dataclass
class Counts:
    """The outcomes of one reader."""

    number: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # of each: which input, and what came of it
    seconds: float = 0.0


def fuzz_reader(reader: Reader, folder: Path, count: int, seed: int, first: int = 0) -> Counts:
    """Reads `count` changed copies of a reader's files.

    folder: an empty one. Input number i is a function of reader, seed and i.
    """
    reader.make(folder)
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    changed = {name: content for name, content in files.items() if reader.files(name)}
    whole = reader.read(folder)
    counts = Counts()
    began = time.monotonic()
    for number in range(first, first + count):
        rng = random.Random(f"{reader.name} {seed} {number}")
        change = draw_change(changed, rng, reader.wrong)
        apply_change(folder, change)
        outcome, why = judge(reader, folder, change, whole)
        counts.number[outcome] += 1
        if outcome in FAULTS:
            counts.faults.append(f"{number}: {outcome}: {change.name}, {change.kind}: {why}")
        undo_change(folder, change, files)
        if reader.restore:
            _restore(folder, files)
    counts.seconds = time.monotonic() - began
    assert digest(reader.read(folder)[:2]) == digest(whole[:2]), "a change was not undone"
    return counts


def judge(reader: Reader, folder: Path, change: Change, whole: Content) -> tuple[str, str]:
    """The outcome of the files as they are, and what a fault is."""
    before = _reset_peak()
    began = time.perf_counter(), time.process_time()
    content, line, raised = None, "", ""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()), _limited():
        try:
            content = reader.read(folder)
        except (InputError, CutShort) as error:
            line = str(error)
        except Exception as error:
            raised = f"{type(error).__name__}: {str(error)[:200]} {_place(error)}"
    # The less of both clocks: other processes make the first run, threads of ours the second.
    seconds = min(time.perf_counter() - began[0], time.process_time() - began[1])
    grown = _peak() - before
    if seconds > SECONDS:
        return SLOW, f"{seconds:.1f} s {raised or line[:200]}"
    if grown > MEGABYTES:
        return LARGE, f"{grown} MB {raised or line[:200]}"
    if raised:
        return SLOW if raised.startswith(_Hang.__name__) else TRACEBACK, raised
    if content is None:
        fault = _find_bad_line(line)
        return (TRACEBACK, fault) if fault else (REFUSED, "")
    if digest(content[:2]) == digest(whole[:2]):
        return SAME, ""
    if content.told or "warning:" in err.getvalue():
        return TOLD, ""
    if reader.checksummed and change.damage:
        return OTHER, "damaged bytes were read as something else"
    if reader.second is None:
        return OTHER, "no second reading"
    try:
        other = reader.second(folder)
    except Exception as error:
        return OTHER, f"the second reading refuses it: {type(error).__name__}: {str(error)[:150]}"
    if digest(other) != digest(content.compared):
        return OTHER, _differ(other, content.compared)
    return VALID, ""


def _find_bad_line(text: str) -> str:
    """What is wrong with a message, or ""."""
    head, *rest = text.split("\n")
    if rest and (" faults; " not in head and " do not fit " not in head):
        return f"a message of several lines: {text[:200]!r}"
    if not all(line.startswith("  ") for line in rest):
        return f"a message with a line end in it: {text[:200]!r}"
    long = max(map(len, [head, *rest]))
    return f"a line of {long} characters: {text[:100]!r}" if long > _LONGEST_LINE else ""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Gives up on what hangs; warnings of libraries stay what they are."""

    def stop(*_: object) -> None:
        raise _Hang(f"more than {_GIVE_UP} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _GIVE_UP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reset_peak() -> int:
    """Makes the peak of the memory what is used now (Linux); returns that, in MB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    """A line of /proc/self/status in MB; 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(text.partition(f"{key}:")[2].split()[0]) // 1024


def _place(error: BaseException) -> str:
    """The last line of ours that an error came through."""
    frame, place = error.__traceback__, ""
    while frame is not None:
        file = Path(frame.tb_frame.f_code.co_filename)
        if {"common", "launch", "gensr_jax"} & set(file.parts) and "site-packages" not in str(file):
            place = f"({file.name}, line {frame.tb_lineno})"
        frame = frame.tb_next
    return place


def _restore(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def digest(content: Any) -> str:
    """A hash of nested tuples, lists, dictionaries, arrays and plain values."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            found.update(b"{")
            for key in sorted(value, key=repr):
                found.update(repr(key).encode("utf-8", "backslashreplace"))
                add(value[key])
        elif isinstance(value, list | tuple):
            found.update(b"[")
            for inner in value:
                add(inner)
            found.update(b"]")
        elif isinstance(value, np.ndarray):
            found.update(f"{value.dtype}{value.shape}".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(repr(value).encode("utf-8", "backslashreplace"))

    add(content)
    return found.hexdigest()


def _differ(one: Any, other: Any, where: str = "") -> str:
    """The first difference of two contents, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=repr):
            if key not in one or key not in other:
                return f"{where}.{key} only in one"
            if digest(one[key]) != digest(other[key]):
                return _differ(one[key], other[key], f"{where}.{key}")
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            if digest(pair[0]) != digest(pair[1]):
                return _differ(*pair, f"{where}[{place}]")
    return f"{where}: second reading {str(one)[:150]!r}, ours {str(other)[:150]!r}"
