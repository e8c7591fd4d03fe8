"""A bounded, process-wide memo of immutable values keyed by content.

Deleting any entry, or this whole file's state, changes no answer: an entry is only ever what
`make()` would return again for the same key. Use it for compiled things (plans, decoded
configuration, composed schemas), never for state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Least-recently-used map of at most `entries_max` values."""

    def __init__(self, *, entries_max: int) -> None:
        self._entries: OrderedDict[Hashable, Value] = OrderedDict()
        self._entries_max = entries_max

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, making it on the first use; what `make` raises is not kept."""
        entries = self._entries
        try:
            value = entries[key]
        except KeyError:
            value = entries[key] = make()
            if len(entries) > self._entries_max:
                entries.popitem(last=False)
            return value
        entries.move_to_end(key)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
