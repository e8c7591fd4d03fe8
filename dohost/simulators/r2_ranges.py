"""Which bytes of an R2 object to read: a `range` option, checked at the call and applied to a size later.

A range that can't be satisfied is an error in an object of options; in a header field it is ignored, as
HTTP lets a server do, and so are malformed and several ranges.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec
from workers.headers import Headers

from dohost.errors import JsRangeError, JsTypeError
from dohost.simulators.r2_arguments import failed
from dohost.simulators.text import scalar_text, wrong_field

_HEADER = re.compile(r" *bytes *= *(\d*) *- *(\d*) *", re.ASCII | re.IGNORECASE)


class Slice(msgspec.Struct, frozen=True):
    """A part of an object's bytes."""

    offset: int
    length: int


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: `suffix`, the last bytes, or `length` from `offset` on; infinity takes all."""

    offset: float = 0
    length: float = math.inf
    suffix: float | None = None
    is_header: bool = False


EVERYTHING = Range(is_header=True)


def range_of(given: object) -> Range:
    """Return the range of a `get`. Raises: JsRangeError, JsTypeError."""
    if given is None:
        return EVERYTHING
    if isinstance(given, Headers):
        return _range_of_header(given.get("range") or "")
    if not isinstance(given, Mapping):
        raise wrong_field("range", "GetOptions", "Range or Headers")
    suffix, offset, length = given.get("suffix"), given.get("offset"), given.get("length")
    if suffix is not None:
        if offset is not None or length is not None:
            other = "offset" if offset is not None else "length"
            raise JsTypeError(f"Suffix is incompatible with {other}.")
        return Range(suffix=_count(suffix, "Suffix"))
    return Range(
        offset=0 if offset is None else _count(offset, "Starting offset"),
        length=math.inf if length is None else _count(length, "Length"),
    )


def slice_of(wanted: Range, size: int) -> Slice:
    """Return the bytes of an object of `size` that a range means. Raises: JsException."""
    if wanted.suffix is not None:
        count = min(wanted.suffix, size)
        start = size - count
    else:
        start = wanted.offset
        count = min(wanted.length, size - start)
    if count > 0:
        return Slice(int(start), int(count))
    if wanted.is_header:
        return Slice(0, size)
    raise failed("get", 10039)


def _range_of_header(text: str) -> Range:
    found = _HEADER.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        return EVERYTHING
    if not found[1]:
        return Range(suffix=int(found[2]), is_header=True)
    start = int(found[1])
    length = int(found[2]) - start + 1 if found[2] else math.inf
    return Range(offset=start, length=length, is_header=True)


def _count(value: object, what: str) -> float:
    number = _number(value)
    if not number >= 0:
        kind = "suffix" if what == "Suffix" else "range"
        raise JsRangeError(
            f"Invalid {kind}. {what} ({_shown(number)}) must be greater than or equal to 0."
        )
    if math.isfinite(number) and not number.is_integer():
        raise JsRangeError(
            f"Invalid range. {what} ({number}) must be an integer, not floating point."
        )
    return number


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number is refused below
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shown(number: float) -> str:
    return "nan" if math.isnan(number) else scalar_text(number) or ""
