"""Counter-based random numbers: a draw is a function of where it is used, never of when.

Every random choice of the data pipeline (candidate lists, shuffles, negatives, pseudo-queries)
comes from here, so it does not depend on workers, processes, row order or restarts.
Source: SplitMix64; the nesting of seed, stream, row and draw is ours.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

# Streams. Lists use the task's number, training negatives the task's number + 2.
REC, SEARCH = 0, 1
TASK_STREAM = {"rec": REC, "search": SEARCH}
NEGATIVES = 2
QUERY, SEARCH_SHARE, EPOCH, SUBSET, RANDOM_SCORE = 16, 17, 18, 19, 20
INJECT, SWAP, MASK, AUDIT = 40, 41, 42, 43
SHUFFLE, FILLER = 48, 49  # of candidates, where a method ranks them

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(z: Any) -> np.ndarray:
    """One SplitMix64 step. z: uint64 of any shape; returns the same shape, uint64."""
    z = np.atleast_1d(np.asarray(z, np.uint64)) + _GOLDEN  # arrays wrap around without a warning
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def draw_words(seed: Any, stream: Any, row: Any, draw: Any) -> np.ndarray:
    """Random 64-bit words h(seed, stream, row, draw).

    Arguments are non-negative integers or integer arrays that broadcast; returns uint64 of their
    common shape (at least one axis).
    """
    word = mix(seed)
    for part in (stream, row, draw):
        word = mix(word ^ np.asarray(part).astype(np.uint64))
    return word


def draw_uniform(seed: Any, stream: Any, row: Any, draw: Any) -> np.ndarray:
    """Uniform float64 in [0, 1) with 53 random bits; arguments as in `draw_words`."""
    return (draw_words(seed, stream, row, draw) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def array_sha256(array: np.ndarray) -> str:
    """sha256 of an array's bytes in C order (the dtype and shape are not part of it)."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
