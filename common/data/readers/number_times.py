"""Numbers as times: seconds or milliseconds since 1970, known by their size; and what is neither.

    20231114, 20231114221320    dates written as numbers
    0 among real times          a missing time
    1700000128.0, float32       seconds rounded to 128

Numbers that are all small are the ticks of a clock with a start of its own.

Shapes: [x] values
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from common.data.readers.time_values import WINDOW, TimeValues

_SMALL = 10**8  # as seconds March 1973: a column of such numbers does not count from 1970
_MILLISECONDS = 1e11  # as seconds the year 5138, as milliseconds March 1973
_TOO_LARGE = 1e14
_DISTINCT = 8  # different values, each a multiple of 128, are no accident: 2^-56
_MISSING = "fill it or drop the row"
# Digits of dates, and of each the largest number that the parts after the day may be.
_DATES = {8: (), 10: (23,), 12: (23, 59), 14: (23, 59, 59), 17: (23, 59, 59, 999)}
_MICRO, _NANO = 10**6, 10**9


def scale_numbers(
    told: TimeValues, numbers: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, str]:
    """Milliseconds, and the unit in words.

    numbers: integers or floats [x]
    valid:   bool [x]; others are null or have been told
    Returns int64 [x], 0 where a number is no time, which is told.
    """
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(np.float64)
        valid = valid & ~told.tell(valid & ~np.isfinite(numbers), "{} is no time")
        numbers = np.where(valid, numbers, 0)
    elif numbers.dtype != np.uint64:
        numbers = numbers.astype(np.int64)
    valid = valid & ~told.tell(valid & (numbers < 0), "{} lies before 1970")
    nothing = np.zeros(len(numbers), np.int64)
    real = valid & (numbers != 0)
    if not real.any():
        return nothing, "the number 0"
    dates = _find_dates(numbers) & real
    outside = (numbers < WINDOW[0]) | (numbers >= WINDOW[1]) & (numbers < WINDOW[0] * 1000)
    outside |= numbers >= WINDOW[1] * 1000
    is_small = bool((numbers[real] < _SMALL).all())
    if not (dates == real).all():
        dates &= outside & (not is_small)
    if dates.any():
        _tell_dates(told, numbers, dates)
    real &= ~dates
    if not real.any():
        return nothing, "dates"
    if is_small:
        ticks = np.where(real, numbers, 0)
        return _to_integers(ticks * 1000), "small numbers, taken as seconds of a clock of its own"
    return _scale_real(told, numbers, valid & ~dates, real)


def _scale_real(
    told: TimeValues, numbers: np.ndarray, valid: np.ndarray, real: np.ndarray
) -> tuple[np.ndarray, str]:
    """Times that count from 1970. real: the valid ones but 0."""
    told.tell(valid & ~real, "{} among times looks like a missing one", _MISSING)
    large = real & (numbers >= _TOO_LARGE)
    if large.any():
        first = float(numbers[np.argmax(large)])
        unit = next((unit for unit, size in (("micro", _MICRO), ("nano", _NANO))
                     if WINDOW[0] * size <= first < WINDOW[1] * size), None)  # fmt: skip
        like = f", it looks like {unit}seconds" if unit else ""
        told.tell(large, f"{{}} is neither seconds nor milliseconds{like}", "convert it")
    real = real & ~large
    if not real.any():
        return np.zeros(len(numbers), np.int64), "numbers"
    first = int(np.argmax(real))
    in_ms = numbers >= _MILLISECONDS
    units = ("seconds", "milliseconds")
    unit, other = units[int(in_ms[first])], units[int(not in_ms[first])]
    what = f"{{}} looks like {other}, row {told.number(first)} like {unit}"
    real &= ~told.tell(real & (in_ms != in_ms[first]), what)
    per_second = 1000 if in_ms[first] else 1
    whole = np.where(real, numbers, 0)
    told.tell_years(whole, per_second, real, f" as {unit}")
    _tell_rounded(told, whole, real, per_second, unit)
    return _to_integers(whole * (1000 // per_second)), unit


def _to_integers(times: np.ndarray) -> np.ndarray:
    return (np.rint(times) if times.dtype.kind == "f" else times).astype(np.int64)


def _find_dates(numbers: np.ndarray) -> np.ndarray:
    """bool [x]: numbers that are dates written without signs, e.g. 20231114."""
    fits = np.zeros(len(numbers), bool)
    whole = np.where(numbers < 1e18, numbers, 0).astype(np.int64)
    is_whole = whole == numbers
    for digits, parts in _DATES.items():
        rest, right = whole.copy(), is_whole & (whole >= 10 ** (digits - 1)) & (whole < 10**digits)
        for largest in reversed(parts):
            size = len(str(largest))
            right &= rest % 10**size <= largest
            rest //= 10**size
        year, month, day = rest // 10_000, rest // 100 % 100, rest % 100
        right &= (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12)
        fits |= right & (day >= 1) & (day <= 31)
    return fits


def _tell_dates(told: TimeValues, numbers: np.ndarray, dates: np.ndarray) -> None:
    text = str(int(numbers[np.argmax(dates)]))
    clock = [text[i : i + 2] for i in range(8, min(len(text), 14), 2)]
    clock += ["00"] * (len(clock) == 1)
    iso = f"{text[:4]}-{text[4:6]}-{text[6:8]}" + f"T{':'.join(clock)}" * bool(clock)
    told.tell(dates, "{} looks like a date written as a number", f"write {iso}")


def _tell_rounded(
    told: TimeValues, times: np.ndarray, real: np.ndarray, per_second: int, unit: str
) -> None:
    """Tells of times that passed through float32, which has 24 bits for 31 or 41."""
    step = 128 if per_second == 1 else 131_072
    mend = "write float64 or whole numbers"
    kind = told.values.type
    if pa.types.is_float32(kind):
        told.tell(real, f"{{}} is stored as float32, which rounds {unit} to {step:,}", mend)
        return
    found = times[real]
    is_rounded = (found % step == 0).all() and (found % (3600 * per_second) != 0).any()
    if is_rounded and len(np.unique(found)) >= _DISTINCT:
        what = f"{{}} is a multiple of {step:,}, as all are: float32 rounded these {unit}"
        told.tell(real, what, mend)
