"""What user code may pass to the storage, and what it means: checks without effects.

Everything here is a pure function of arguments; what is refused raises at the call with Cloudflare's
message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from dohost.errors import JsTypeError

Options = Mapping[str, object]


class _Undefined:
    """The type of an argument that was not given."""


UNDEFINED: Final = _Undefined()


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys to list: bounds as in SQL, direction, and how many at most."""

    lower: str | None
    is_lower_included: bool
    upper: str | None
    is_reverse: bool
    limit: int | None

    def after(self, key: str) -> Range:
        """Return what is left of the range once `key` was listed."""
        if self.is_reverse:
            return msgspec.structs.replace(self, upper=key)
        return msgspec.structs.replace(self, lower=key, is_lower_included=False)

    def query(self, limit: int | None) -> tuple[str, tuple[str | int, ...]]:
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
        bindings.append(-1 if limit is None else limit)
        return f"SELECT key, value FROM _cf_KV{where}{order} LIMIT ?", tuple(bindings)


def key_of(key: object) -> str:
    """Return a key as it is stored. Raises: JsTypeError if it is not a string."""
    if not isinstance(key, str):
        raise JsTypeError(f"A storage key must be a string, not {type(key).__name__}.")
    try:
        key.encode()
    except UnicodeEncodeError:
        # JavaScript's strings become UTF-8 with a replacement character for a lone surrogate.
        return key.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return key


def range_of(options: object, named: Options) -> Range:
    """Return the range that the options of `list` mean. Raises: JsTypeError."""
    if options is not None and not isinstance(options, Mapping):
        raise JsTypeError("list() options must be an object.")
    given = {**(options or {}), **named}
    start, start_after = _text(given, "start"), _text(given, "startAfter")
    end, prefix = _text(given, "end"), _text(given, "prefix")
    if start is not None and start_after is not None:
        raise JsTypeError("list() cannot be called with both start and startAfter values.")
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
        limit=_limit(given.get("limit")),
    )


def _text(given: Options, name: str) -> str | None:
    value = given.get(name)
    return None if value is None else key_of(value)


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise JsTypeError("List limit must be a number.")
    if not value >= 1:
        raise JsTypeError("List limit must be positive.")
    return min(int(min(value, 2**62)), 2**62)


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


def is_confirmed(options: object, named: Options) -> bool:
    """Whether outputs must wait for the write: not if it has `allowUnconfirmed`."""
    if options is None:
        return not named.get("allowUnconfirmed")
    if not isinstance(options, Mapping):
        raise JsTypeError("The options of a storage operation must be an object.")
    return not {**options, **named}.get("allowUnconfirmed")


def milliseconds_of(due: object) -> int:
    """Return a time as JavaScript's Date holds it; a naive datetime is UTC."""
    if isinstance(due, datetime):
        aware = due if due.tzinfo is not None else due.replace(tzinfo=UTC)
        return int(aware.timestamp() * 1000)
    if isinstance(due, int | float) and abs(due) <= 8.64e15:
        return int(due)
    raise JsTypeError(f"setAlarm() takes a datetime or milliseconds since the epoch, not {due!r}.")
