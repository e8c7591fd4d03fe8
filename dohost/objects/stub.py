"""A stub: the handle through which one object is called.

Making a stub does nothing. Every attribute but `id`, `name` and `fetch` is a method of the object,
whether it exists or not: the object answers that. Calls on one stub are delivered in the order in
which they were made. A stub that reached an instance which was then reset keeps that instance's error;
a new stub from the namespace reaches a new instance.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from workers import Request, Response
from workers.values import ByReference

from dohost.objects.id import DurableObjectId


class Dispatcher(Protocol):
    """Delivers calls to the one live instance of an object; the runtime implements it."""

    def call(
        self, stub: DurableObjectStub, method: str, args: tuple[object, ...]
    ) -> Awaitable[object]:
        """Start an RPC call now."""
        ...

    def fetch(self, stub: DurableObjectStub, request: Request) -> Awaitable[Response]:
        """Start a fetch now."""
        ...


class Fetcher(ByReference):
    """Anything that requests and calls can be sent to: an object, a service."""

    __slots__ = ()

    # Why it can't be passed to somebody else; None if it can.
    _unpassable: str | None = None

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        """Send a request to the `fetch` handler; what the handler raises is raised here."""
        raise AssertionError("each kind of fetcher sends requests its own way")

    def __getattr__(self, name: str) -> partial[Awaitable[object]]:
        if name[:2] == "__" and name[-2:] == "__":
            # Protocol look-ups (copy, pickle, inspect) must not become calls.
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, /, *args: object, **kwargs: object) -> Awaitable[object]:
        raise AssertionError("each kind of fetcher makes calls its own way")


class PassedFetcher(Fetcher):
    """What arrives of a stub that was passed in a call: it works, but has no `id` and no `name`."""

    __slots__ = ("_target",)

    def __init__(self, target: Fetcher) -> None:
        self._target = target

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        return self._target.fetch(resource, **options)

    def _call(self, name: str, /, *args: object, **kwargs: object) -> Awaitable[object]:
        return self._target._call(name, *args, **kwargs)

    def __repr__(self) -> str:
        return "<Fetcher>"


class DurableObjectStub(Fetcher):
    """Calls one Durable Object; `id` and `name` are its only attributes of its own."""

    def __init__(self, object_id: DurableObjectId, dispatcher: Dispatcher) -> None:
        self.id = object_id
        self.name = object_id.name
        # Slots, not in __dict__, so that user code sees exactly `id` and `name` as the stub's own.
        self._dispatcher = dispatcher
        self._connected = None

    __slots__ = ("__dict__", "__weakref__", "_connected", "_dispatcher")

    _dispatcher: Dispatcher
    _connected: object

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        if options or type(resource) is not Request:
            resource = Request(resource, **options)  # type: ignore[arg-type] # checked by Request
        return self._dispatcher.fetch(self, resource)

    def _call(self, name: str, /, *args: object, **kwargs: object) -> Awaitable[object]:
        if kwargs:
            # JavaScript's calling convention: keywords travel as one trailing options object.
            args = (*args, kwargs)
        return self._dispatcher.call(self, name, args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DurableObjectStub) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<DurableObjectStub {self.id!r}>"
