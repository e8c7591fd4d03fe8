"""A bounded, process-wide memo of immutable values keyed by content.

Deleting any entry, or this whole file's state, changes no answer: an entry is only ever what
`make()` would return again for the same key. Use it for compiled things (plans, decoded
configuration, composed schemas), never for state.

Entries are in two generations, so that a look-up is one dictionary access and still keeps what is in
use: new and re-used entries go into the young one; when that is full it becomes the old one, and what
nobody asked for since is forgotten with the old one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar, cast

Value = TypeVar("Value")
_ABSENT: Final = object()


class Memo(Generic[Value]):
    """A map of at most `entries_max` values (two at least); what is used least lately goes first."""

    __slots__ = ("_generation_max", "_old", "_young")

    def __init__(self, *, entries_max: int) -> None:
        self._young: dict[Hashable, Value] = {}
        self._old: dict[Hashable, Value] = {}
        self._generation_max = max(1, entries_max // 2)

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, making it on the first use; what `make` raises is not kept."""
        found = self._young.get(key, _ABSENT)
        if found is not _ABSENT:
            return cast("Value", found)
        found = self._old.pop(key, _ABSENT)
        value = make() if found is _ABSENT else cast("Value", found)
        self.put(key, value)
        return value

    def get(self, key: Hashable) -> Value | None:
        """Return the value of `key` if it is known, for memos whose values are never None."""
        found = self._young.get(key)
        if found is None and (found := self._old.pop(key, None)) is not None:
            self.put(key, found)
        return found

    def put(self, key: Hashable, value: Value) -> None:
        """Remember a value."""
        if len(self._young) >= self._generation_max:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
