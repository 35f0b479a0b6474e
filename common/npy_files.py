"""Arrays in .npy and .npz files that somebody else may have written. Source: ours."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from common.bounds import check_growth, check_regular
from common.errors import InputError

_ZIP = b"PK\x03\x04"
_SHOWN = 40  # characters of a shape
_KINDS = {"iu": "whole numbers", "f": "floats"}
_HEADERS = {  # of arrays without names of columns
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path, kinds: str, ndim: int, mend: str) -> np.ndarray:
    """The array of a .npy file.

    kinds: "iu" (whole numbers) or "f"; ndim: its axes; mend: the end of an error's line
    Raises InputError for a file that is missing, damaged, of another size than its header says, or
    holds another kind of array.
    """
    check_regular(path, mend)
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) == _ZIP:
                what = "is an archive of arrays (.npz), not a .npy file"
                raise InputError(f"{path}: {what}; {mend}")
            file.seek(0)
            _check_size(file, os.fstat(file.fileno()).st_size, str(path), mend)
            file.seek(0)
            array = np.load(file, allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # a header is parsed as Python, and anything may come of that
        raise InputError(f"{path}: cut short or no .npy file; {mend}") from error
    return _check(array, kinds, ndim, str(path), mend)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file. Raises OSError with what the system said, such as that the disk is full.

    `np.save` into a file itself would say how many bytes it wrote, and not why no more.
    """
    content = io.BytesIO()
    np.save(content, array)
    with path.open("wb") as file:
        file.write(content.getbuffer())


def read_npz(path: Path, names: Sequence[str], mend: str) -> dict[str, np.ndarray]:
    """Arrays of whole numbers with one axis, of a .npz file; others in it are not looked at.

    Raises InputError as `read_npy`, and for an array that is not there.
    """
    check_regular(path, mend)
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = sorted(set(names) - set(stored.files))
            for name in () if missing else names:
                where, entry = f"{path}, array {name}", stored.zip.getinfo(f"{name}.npy")
                check_growth(path, path.stat().st_size, entry.file_size, mend)
                with stored.zip.open(entry) as file:
                    _check_size(file, entry.file_size, where, mend)
                arrays[name] = stored[name]
    except InputError:
        raise
    except Exception as error:  # as above; an array's own damage shows when it is read
        raise InputError(f"{path}: damaged or no .npz file; {mend}") from error
    if missing:
        raise InputError(f"{path}: no array {', '.join(missing)}; {mend}")
    return {name: _check(a, "iu", 1, f"{path}, array {name}", mend) for name, a in arrays.items()}


def _check_size(file: IO[bytes], size: int, where: str, mend: str) -> None:
    """Raises InputError for a header that promises more or less than there is: memory is taken for
    what it says. size: bytes of the file."""
    read_header = _HEADERS[np.lib.format.read_magic(file)]
    shape, _, dtype = read_header(file)
    wanted, rest = math.prod(shape) * dtype.itemsize, size - file.tell()
    if wanted != rest:
        what = "cut short" if rest < wanted else "too long"
        axes = " x ".join(map(str, shape))[:_SHOWN]
        raise InputError(f"{where}: {what}, it has {rest:,} bytes for {axes} of {dtype}; {mend}")


def _check(array: np.ndarray, kinds: str, ndim: int, where: str, mend: str) -> np.ndarray:
    if array.dtype.kind not in kinds or array.ndim != ndim:
        axes = "one axis" if ndim == 1 else f"{ndim} axes"
        raise InputError(
            f"{where}: is {array.dtype}{list(array.shape)}, not {_KINDS[kinds]} with {axes}; {mend}"
        )
    return array
