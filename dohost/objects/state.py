"""`ctx`: what an object is given of its host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, Protocol, TypeVar

from workers.values import JsDict

from dohost.errors import JsException
from dohost.objects.id import DurableObjectId
from dohost.storage.storage import DurableObjectStorage

Result = TypeVar("Result")


class StateHost(Protocol):
    """What `ctx` needs of the actor behind it."""

    def block_concurrency_while(
        self, callback: Callable[[], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Run `callback` with the input gate closed to everybody else; a failure resets the object."""
        ...

    def wait_until(self, awaitable: Awaitable[object]) -> None:
        """Keep the instance until `awaitable` is done; log its failure."""
        ...

    def abort(self, reason: str | None, *, retries_alarm: bool) -> NoReturn:
        """Reset the object now; does not return to user code."""
        ...


class NoFacets:
    """`ctx.facets`: child objects inside an object, which this host does not have."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise JsException("This Durable Object does not support creating facets.")


class DurableObjectState:
    """One instance's `ctx`: its id, its storage, and its gates."""

    __slots__ = ("_host", "exports", "facets", "id", "props", "storage")

    def __init__(
        self,
        host: StateHost,
        object_id: DurableObjectId,
        storage: DurableObjectStorage,
        exports: object,
    ) -> None:
        self._host = host
        self.id = object_id
        self.storage = storage
        self.exports = exports
        self.props: Mapping[str, object] = JsDict()
        self.facets = NoFacets()

    def __repr__(self) -> str:
        return f"<DurableObjectState {self.id!r}>"

    def waitUntil(self, awaitable: Awaitable[object]) -> None:
        """Keep this instance in memory until `awaitable` is done; does not delay any answer."""
        self._host.wait_until(awaitable)

    def blockConcurrencyWhile(
        self, callback: Callable[[], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Run `callback` before any other event of this object; it starts also if not awaited.

        Returns an awaitable of its result. If it raises or takes longer than 30 s, the object is reset.
        """
        return self._host.block_concurrency_while(callback)

    def abort(
        self,
        reason: str | None = None,
        options: Mapping[str, object] | None = None,
        **named: object,
    ) -> NoReturn:
        """Reset this object: drop uncommitted writes and memory, fail every call in flight.

        An alarm whose handler this ends is run again, unless `retryAlarm` is false.
        """
        retries_alarm = {**(options or {}), **named}.get("retryAlarm", True)
        self._host.abort(reason, retries_alarm=bool(retries_alarm))
