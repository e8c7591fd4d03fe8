"""What the gateway and the services use of a Durable Object's state, as types.

These are Cloudflare's own names; a host supplies the objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
# A row's columns have whatever types SQLite gave them; the reader of a row knows its own query.
Row = dict[str, Any]


class Cursor(Protocol):
    """Rows of one statement."""

    def __iter__(self) -> Iterator[Row]: ...
    def toArray(self) -> list[Row]: ...
    def one(self) -> Row: ...


class Sql(Protocol):
    """`ctx.storage.sql`."""

    def exec(self, query: str, *bindings: object) -> Cursor: ...


class Storage(Protocol):
    """`ctx.storage`."""

    @property
    def sql(self) -> Sql: ...
    def sync(self) -> Awaitable[None]: ...
    def transactionSync(self, callback: Callable[[], Result]) -> Result: ...


class ObjectId(Protocol):
    """`ctx.id`."""

    @property
    def name(self) -> str | None: ...


class ObjectState(Protocol):
    """`self.ctx` of a Durable Object."""

    @property
    def id(self) -> ObjectId: ...
    @property
    def storage(self) -> Storage: ...
    def waitUntil(self, awaitable: Awaitable[object], /) -> None: ...
