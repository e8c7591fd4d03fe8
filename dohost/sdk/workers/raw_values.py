"""Values that Cloudflare hands to programs as raw JavaScript objects.

There a program converts them itself (`value.to_py()`, `date.getTime()`); here they are Python values already
that know these methods as well, so both spellings run.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

from workers.values import ArrayBuffer, JsDict


class JsObject(JsDict):
    """An object; `to_py()` gives plain values."""

    __slots__ = ()

    def to_py(self, **options: object) -> dict[str, object]:
        return _converted(self, {}, to=(dict, list))  # type: ignore[return-value] # a dict of a mapping


class JsArray(list[object]):
    """An array."""

    __slots__ = ()

    @property
    def length(self) -> int:
        return len(self)

    def to_py(self, **options: object) -> list[object]:
        return _converted(self, {}, to=(dict, list))  # type: ignore[return-value] # a list of a list


class JsDate(datetime):
    """A date in UTC with JavaScript's methods."""

    @classmethod
    def from_ms(cls, ms: float) -> Self:
        """Return the date of a time in milliseconds since the epoch."""
        return cls.fromtimestamp(int(ms) / 1000, UTC)

    def getTime(self) -> int:
        return round(self.timestamp() * 1000)

    valueOf = getTime

    def toISOString(self) -> str:
        return self.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.microsecond // 1000:03d}Z"

    toJSON = toISOString

    def to_py(self, **options: object) -> datetime:
        return datetime.fromtimestamp(self.timestamp(), UTC)


def raw_object(value: Mapping[str, object]) -> JsObject:
    """Return a mapping as a raw object."""
    return JsObject({name: raw(item) for name, item in value.items()})


def raw(value: object) -> object:
    """Return `value` with its dicts, lists and bytes as raw ones; a cycle stays one."""
    return _converted(value, {}, to=(JsObject, JsArray))


def _converted(
    value: object,
    seen: dict[int, object],
    *,
    to: tuple[type[dict[str, object]], type[list[object]]],
) -> object:
    if isinstance(value, memoryview):
        return ArrayBuffer(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Mapping):
        mapping = seen[id(value)] = to[0]()
        mapping.update((str(name), _converted(item, seen, to=to)) for name, item in value.items())
        return mapping
    items = seen[id(value)] = to[1]()
    items.extend(_converted(item, seen, to=to) for item in value)
    return items
