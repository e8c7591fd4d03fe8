"""`ctx`: what an object is given of its host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, Protocol, TypeVar

from workers.raw_values import JsArray, JsDate
from workers.values import JsDict
from workers.websocket import WebSocket, WebSocketRequestResponsePair

from dohost.errors import JsException, JsTypeError
from dohost.objects.facets import DurableObjectFacets, FacetsHost
from dohost.objects.id import DurableObjectId
from dohost.storage.storage import DurableObjectStorage

Result = TypeVar("Result")

TAGS_MAX = 10
TAG_BYTES_MAX = 256
EVENT_TIMEOUT_MS_MAX = 604_800_000


class HibernatableSockets(Protocol):
    """What `ctx` needs of its object's sockets."""

    auto_response: WebSocketRequestResponsePair | None
    event_timeout_ms: int | None

    def accept(self, socket: WebSocket, tags: tuple[str, ...]) -> None:
        """Take a socket. Raises: JsException if it is taken, or if it would be one too many."""
        ...

    def sockets(self, tag: str | None) -> list[WebSocket]:
        """Return the open sockets: newest first, or by tag, oldest first."""
        ...

    def tags(self, socket: WebSocket) -> tuple[str, ...]:
        """Return the tags of an accepted socket."""
        ...

    def auto_response_ms(self, socket: WebSocket) -> int | None:
        """Return when a socket was last answered automatically, or None."""
        ...


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

    def hibernatable_sockets(self) -> HibernatableSockets:
        """Return the object's sockets that outlive its instances."""
        ...

    def facets_host(self) -> FacetsHost:
        """Return the objects inside this one."""
        ...


class DurableObjectState:
    """One instance's `ctx`: its id, its storage, and its gates."""

    __slots__ = ("_facets", "_host", "exports", "id", "props", "storage")

    def __init__(
        self,
        host: StateHost,
        object_id: DurableObjectId | str,
        storage: DurableObjectStorage,
        exports: object,
    ) -> None:
        self._host = host
        self.id = object_id
        self.storage = storage
        self.exports = exports
        self.props: Mapping[str, object] = JsDict()
        self._facets: DurableObjectFacets | None = None

    def __repr__(self) -> str:
        return f"<DurableObjectState {self.id!r}>"

    @property
    def facets(self) -> DurableObjectFacets:
        """Objects inside this one, with storage of their own. Raises: Quarantined."""
        if self._facets is None:
            self._facets = DurableObjectFacets(self._host.facets_host())
        return self._facets

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

    # Hibernatable WebSockets -------------------------------------------------------------------

    def acceptWebSocket(self, ws: WebSocket, tags: object = None) -> None:
        """Take a socket that stays open while this instance is evicted, under at most 10 tags.

        Its frames go to `webSocketMessage`, `webSocketClose` and `webSocketError`. Raises: JsException
        if it or its pair is taken, for a tag above 256 bytes, and above 32,768 sockets.
        """
        _require_socket(ws, "acceptWebSocket")
        if tags is not None and not isinstance(tags, (list, tuple)):
            raise _mistyped("acceptWebSocket", 2, "Array")
        ws.require_hibernatable()
        self._host.hibernatable_sockets().accept(ws, _checked_tags(tags or ()))

    def getWebSockets(self, tag: str | None = None) -> JsArray:
        """Return the hibernatable sockets that have not ended: newest first; of a tag: oldest first."""
        return JsArray(self._host.hibernatable_sockets().sockets(tag))

    def getTags(self, ws: WebSocket) -> JsArray:
        """Return the distinct tags that a socket was accepted with."""
        _require_socket(ws, "getTags")
        return JsArray(self._host.hibernatable_sockets().tags(ws))

    def setWebSocketAutoResponse(self, pair: WebSocketRequestResponsePair | None = None) -> None:
        """Answer one text message without waking this object; None ends that."""
        if pair is not None:
            if not isinstance(pair, WebSocketRequestResponsePair):
                raise _mistyped("setWebSocketAutoResponse", 1, "WebSocketRequestResponsePair")
            pair.check()
        self._host.hibernatable_sockets().auto_response = pair

    def getWebSocketAutoResponse(self) -> WebSocketRequestResponsePair | None:
        return self._host.hibernatable_sockets().auto_response

    def getWebSocketAutoResponseTimestamp(self, ws: WebSocket) -> JsDate | None:
        """Return when `ws` was last answered automatically, or None."""
        _require_socket(ws, "getWebSocketAutoResponseTimestamp")
        at_ms = self._host.hibernatable_sockets().auto_response_ms(ws)
        return None if at_ms is None else JsDate.from_ms(at_ms)

    def setHibernatableWebSocketEventTimeout(self, timeout_ms: int | None = None) -> None:
        """Cancel handlers of hibernatable sockets that take longer; 0 or None: never."""
        if timeout_ms is not None and timeout_ms < 0:
            raise JsTypeError(
                "The value cannot be converted because it is negative and this API expects a "
                "positive number."
            )
        if timeout_ms is not None and timeout_ms > EVENT_TIMEOUT_MS_MAX:
            raise JsException(f"Event timeout should not exceed {EVENT_TIMEOUT_MS_MAX} ms.")
        self._host.hibernatable_sockets().event_timeout_ms = timeout_ms or None

    def getHibernatableWebSocketEventTimeout(self) -> int | None:
        return self._host.hibernatable_sockets().event_timeout_ms


def _checked_tags(tags: list[object] | tuple[object, ...]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(str(tag) for tag in tags))
    if len(distinct) > TAGS_MAX:
        raise JsException(f"a Hibernatable WebSocket cannot have more than {TAGS_MAX} tags")
    for tag in distinct:
        if len(tag.encode()) > TAG_BYTES_MAX:
            raise JsException(
                f'"{tag}" is longer than the max tag length ({TAG_BYTES_MAX} characters).'
            )
    return distinct


def _require_socket(ws: object, method: str) -> None:
    if not isinstance(ws, WebSocket):
        raise _mistyped(method, 1, "WebSocket")


def _mistyped(method: str, parameter: int, kind: str) -> JsTypeError:
    return JsTypeError(
        f"Failed to execute '{method}' on 'DurableObjectState': parameter {parameter} is not of "
        f"type '{kind}'."
    )
