"""One object's storage with a host that commits when the test says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from dohost.clock import ManualClock
from dohost.errors import JsException
from dohost.storage.awaitable import NOTHING
from dohost.storage.database import Database, DatabaseOptions, ObjectMeta
from dohost.storage.history import DEFAULT_LIMITS, HistoryLimits
from dohost.storage.storage import DurableObjectStorage

Result = TypeVar("Result")

OBJECT_ID = "ab" * 32
META = ObjectMeta(unique_key="app-Room", object_id=OBJECT_ID, name="alice")


class FakeHost:
    """An actor reduced to what the storage asks of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broken: BaseException | None = None
        self.pending = False
        self.confirmed: list[bool] = []

    def check_access(self) -> None:
        if self.broken is not None:
            raise self.broken
        if self.database.is_closed:
            raise JsException("Durable Object storage is no longer accessible.")

    def wrote(self, confirmed: bool) -> None:
        self.pending = True
        self.confirmed.append(confirmed)

    async def critical_section(self, callback: Callable[[], Awaitable[Result] | Result]) -> Result:
        result = callback()
        return await result  # type: ignore[misc] # the storage passes a coroutine function

    def committed_so_far(self) -> Awaitable[None]:
        self.end_turn()
        return NOTHING

    def broke(self, error: BaseException) -> None:
        self.broken = error

    def end_turn(self) -> None:
        """Do what an actor does when a turn ends: commit and make durable, if anything was written."""
        if self.pending:
            self.pending = False
            self.database.commit()
            self.database.sync()


class StorageBench:
    """A storage, its file, and how to end turns, crash and come back."""

    def __init__(
        self, directory: Path, *, history: HistoryLimits = DEFAULT_LIMITS, **options: bool
    ) -> None:
        self.path = directory / "v3" / "do" / META.unique_key / f"{OBJECT_ID}.sqlite"
        self.clock = ManualClock()
        self._strict = options.pop("strict", False)
        self._history = history
        self._options = options
        self.open()

    def open(self) -> None:
        self.database = Database(
            self.path,
            META,
            DatabaseOptions(is_strict=self._strict, clock=self.clock, history=self._history),
        )
        self.host = FakeHost(self.database)
        self.storage = DurableObjectStorage(
            self.database, self.host, clock=self.clock, **self._options
        )

    def sql(self, text: str, *bindings: object) -> list[dict[str, object]]:
        return list(self.storage.sql.exec(text, *bindings).toArray())

    def end_turn(self) -> None:
        self.host.end_turn()

    def reopen(self) -> None:
        """Evict and start again: what was not committed is lost."""
        self.database.close()
        self.open()

    @property
    def now_ms(self) -> int:
        return self.clock.realtime_ns() // 1_000_000
