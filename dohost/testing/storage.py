"""An object's storage in a test's hands: to put data there before the program looks, and to look after it.

Each operation is an event of its own in the object: it runs after the constructor and under the gates,
and is durable when it returns. An object that is not running is started for it, as any event would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import cast

from dohost.storage.storage import DurableObjectStorage

RunWithStorage = Callable[[Callable[[DurableObjectStorage], object]], Awaitable[object]]


class StorageHandle:
    """The storage of one object, from outside of it."""

    def __init__(self, run: RunWithStorage, label: str) -> None:
        self._run = run
        self._label = label

    def __repr__(self) -> str:
        return f"<StorageHandle {self._label}>"

    async def exec(self, query: str, *bindings: object) -> list[dict[str, object]]:
        """Run SQL and return its rows as plain dicts."""

        def query_rows(storage: DurableObjectStorage) -> list[dict[str, object]]:
            return [dict(row) for row in storage.sql.exec(query, *bindings)]

        return cast("list[dict[str, object]]", await self._run(query_rows))

    async def get(self, key: str) -> object:
        """Return the value of a key, or None."""
        return await self._run(lambda storage: storage.get(key))

    async def put(self, key: str, value: object) -> None:
        """Store a value."""
        await self._run(lambda storage: storage.put(key, value))

    async def put_all(self, entries: Mapping[str, object]) -> None:
        """Store several values as one."""
        await self._run(lambda storage: storage.put(entries))

    async def delete(self, key: str) -> bool:
        """Delete a key; return whether it existed."""
        return cast(bool, await self._run(lambda storage: storage.delete(key)))

    async def list(self, **options: object) -> dict[str, object]:
        """Return keys and values in order; options as `storage.list` takes them."""
        found = await self._run(lambda storage: storage.list(**options))
        return dict(cast("Mapping[str, object]", found))

    async def get_alarm(self) -> int | None:
        """Return when the alarm is due, in ms, or None."""
        return cast("int | None", await self._run(lambda storage: storage.getAlarm()))

    async def set_alarm(self, due: int | datetime) -> None:
        """Set the alarm, to ms or a datetime."""
        await self._run(lambda storage: storage.setAlarm(due))

    async def delete_alarm(self) -> None:
        """Delete the alarm."""
        await self._run(lambda storage: storage.deleteAlarm())
