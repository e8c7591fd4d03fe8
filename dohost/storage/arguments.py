"""What user code may pass to the storage, and what it means: checks without effects.

Everything here is a pure function of arguments; what is refused raises at the call with Cloudflare's
message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from workers.values import SAFE_INTEGER_MAX, JsBigInt

from dohost.errors import JsTypeError
from dohost.storage.coercion import int32_of, text_of

Options = Mapping[str, object]

DUE_MS_MAX = 2**63 // 1_000_000
# Where the options of an operation stand among its arguments, and what JavaScript calls their type.
OPTIONS = {
    "get": (2, "GetOptions"),
    "put": (3, "PutOptions"),
    "delete": (2, "PutOptions"),
    "list": (1, "ListOptions"),
    "deleteAll": (1, "PutOptions"),
    "getAlarm": (1, "GetAlarmOptions"),
    "setAlarm": (2, "SetAlarmOptions"),
    "deleteAlarm": (1, "SetAlarmOptions"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class _Undefined:
    """The type of an argument that was not given."""


UNDEFINED: Final = _Undefined()
UNDEFINED_VALUE = "put() called with undefined value."


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys to list: bounds as in SQL, direction, and how many at most."""

    lower: str | None
    is_lower_included: bool
    upper: str | None
    is_reverse: bool
    limit: int | None

    @property
    def is_empty(self) -> bool:
        """Whether no key at all can be in the range."""
        return self.upper is not None and (self.lower or "") >= self.upper

    def query(self) -> tuple[str, tuple[str | int, ...]]:
        """Return the statement that lists the range, and its bindings."""
        conditions = []
        bindings: list[str | int] = []
        if self.lower is not None:
            conditions.append("key >= ?" if self.is_lower_included else "key > ?")
            bindings.append(self.lower)
        if self.upper is not None:
            conditions.append("key < ?")
            bindings.append(self.upper)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = " ORDER BY key DESC" if self.is_reverse else " ORDER BY key"
        bindings.append(-1 if self.limit is None else self.limit)
        return f"SELECT key, value FROM _cf_KV{where}{order} LIMIT ?", tuple(bindings)


def key_of(key: object) -> str:
    """Return a key as it is stored: text as UTF-8 can hold it, a number as JavaScript prints it.

    Raises: JsTypeError for what has no text that anybody could mean.
    """
    if type(key) is str and key.isascii():
        return key
    return text_of(key, "A storage key")


def check_options(options: object, owner: str, method: str) -> None:
    """Refuse options that are no mapping. Raises: JsTypeError, with the name that JavaScript knows."""
    if options is not None and not isinstance(options, Mapping):
        position, kind = OPTIONS[method]
        raise JsTypeError(
            f"Failed to execute '{method}' on '{owner}': "
            f"parameter {position} is not of type '{kind}'."
        )


def range_of(options: Options | None, named: Options) -> Range:
    """Return the range that the options of `list` mean. Raises: JsTypeError."""
    given = {**(options or {}), **named}
    limit = int32_of(given["limit"], "List limit") if "limit" in given else None
    start, start_after = _text(given, "start"), _text(given, "startAfter")
    end, prefix = _text(given, "end"), _text(given, "prefix")
    if start is not None and start_after is not None:
        raise JsTypeError("list() cannot be called with both start and startAfter values.")
    if limit is not None and limit <= 0:
        raise JsTypeError("List limit must be positive.")
    lower = start if start_after is None else start_after
    upper = end
    is_included = start_after is None
    if prefix:
        if lower is None or lower < prefix:
            lower, is_included = prefix, True
        bound = _end_of_prefix(prefix)
        upper = bound if upper is None else upper if bound is None else min(upper, bound)
    return Range(
        lower=lower,
        is_lower_included=is_included,
        upper=upper,
        is_reverse=bool(given.get("reverse")),
        limit=limit,
    )


def _text(given: Options, name: str) -> str | None:
    # An option that is None was given: to JavaScript it is null, and null has a text.
    return key_of(given[name]) if name in given else None


def _end_of_prefix(prefix: str) -> str | None:
    """Return the least text above every text that begins with `prefix`, or None if there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            # The code points D800 to DFFF are surrogates and have no UTF-8 form.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None


def is_confirmed(options: Options | None, named: Options) -> bool:
    """Whether outputs must wait for the write: not if it has `allowUnconfirmed`."""
    if options is None:
        return not named.get("allowUnconfirmed")
    return not {**options, **named}.get("allowUnconfirmed")


def milliseconds_of(due: object, owner: str, *, method: str = "setAlarm") -> int:
    """Return a time as JavaScript's Date holds it; a naive datetime is UTC.

    Raises: JsTypeError for what is no time, and for times that 64 bits of nanoseconds can't hold.
    """
    if isinstance(due, datetime):
        aware = due if due.tzinfo is not None else due.replace(tzinfo=UTC)
        due = (aware - _EPOCH) // _MILLISECOND
    is_number = isinstance(due, int | float) and not isinstance(due, bool | JsBigInt)
    if not is_number or (isinstance(due, int) and abs(due) > SAFE_INTEGER_MAX):
        raise JsTypeError(
            f"Failed to execute '{method}' on '{owner}': parameter 1 is not of type 'date'."
        )
    assert isinstance(due, int | float), "see above"
    if not math.isfinite(due):
        raise JsTypeError("The value cannot be converted because it is not a valid Date.")
    if due > DUE_MS_MAX:
        raise JsTypeError("This API doesn't support dates after 2189.")
    # A fraction of the first millisecond is after the epoch.
    return max(int(due), 1) if due > 0 else int(due)
