"""Arrays in .npy and .npz files that somebody else may have written. Source: ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import InputError

_KINDS = {"iu": "whole numbers", "f": "floats"}


def read_npy(path: Path, kinds: str, ndim: int, mend: str) -> np.ndarray:
    """The array of a .npy file.

    kinds: "iu" (whole numbers) or "f"; ndim: its axes; mend: the end of an error's line
    Raises InputError for a file that is missing, damaged, or holds another kind of array.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for without an end
        raise InputError(f"{path}: is no file; {mend}")
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {mend}") from error
    except Exception as error:  # a header is parsed as Python, and anything may come of that
        raise InputError(f"{path}: cut short or no .npy file; {mend}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: is an archive of arrays (.npz), not a .npy file; {mend}")
    return _check(array, kinds, ndim, str(path), mend)


def read_npz(path: Path, names: Sequence[str], mend: str) -> dict[str, np.ndarray]:
    """Arrays of whole numbers with one axis, of a .npz file; others in it are not looked at.

    Raises InputError as `read_npy`, and for an array that is not there.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = sorted(set(names) - set(stored.files))
            arrays = {} if missing else {name: stored[name] for name in names}
    except Exception as error:  # as above; an array's own damage shows when it is read
        raise InputError(f"{path}: damaged or no .npz file; {mend}") from error
    if missing:
        raise InputError(f"{path}: no array {', '.join(missing)}; {mend}")
    return {name: _check(a, "iu", 1, f"{path}, array {name}", mend) for name, a in arrays.items()}


def _check(array: np.ndarray, kinds: str, ndim: int, where: str, mend: str) -> np.ndarray:
    if array.dtype.kind not in kinds or array.ndim != ndim:
        axes = "one axis" if ndim == 1 else f"{ndim} axes"
        raise InputError(
            f"{where}: is {array.dtype}{list(array.shape)}, not {_KINDS[kinds]} with {axes}; {mend}"
        )
    return array
