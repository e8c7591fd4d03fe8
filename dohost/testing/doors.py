"""The ways into a program under test, and out of it: requests, sockets, a server, the internet."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from workers import Request, Response

from dohost.clock import Clock, Entropy
from dohost.errors import CallerError
from dohost.runtime.host import Host
from dohost.telemetry import Log
from dohost.testing.sockets import SocketClient

if TYPE_CHECKING:
    from dohost.server.app import Server

Internet = Callable[[Request], Awaitable[Response] | Response]

ORIGIN = "http://localhost"


def url_of(resource: str) -> str:
    """Return a URL; a path is one of the program."""
    return f"{ORIGIN}{resource}" if resource.startswith("/") else resource


def request_of(resource: str | Request, options: dict[str, object]) -> Request:
    """Return a request as it reaches a program from outside; options are those of `workers.Request`."""
    request = resource
    if not isinstance(request, Request):
        request = Request(url_of(str(resource)), **options)  # type: ignore[arg-type] # checked by Request
    if "cf-connecting-ip" not in request.headers:
        # As the server sets it, so that programs that know clients by it work alike.
        request = Request(request)
        request.headers.set("cf-connecting-ip", "127.0.0.1")
    return request


async def socket_of(response: Response, resource: str) -> SocketClient:
    """Return the client's end of the WebSocket that a response opens. Raises: CallerError if it is none."""
    socket = response.web_socket
    if socket is None:
        raise CallerError(
            f"{resource} answered {response.status} and no WebSocket: "
            f"{(await response.text())[:200]!r}. A program opens one by "
            "Response(None, status=101, web_socket=client)."
        )
    return SocketClient(socket)


def server_for(host: Host, *, clock: Clock, log: Log, entropy: Entropy) -> Server:
    """Return a server of the program that is not started."""
    # Here, because most tests speak to objects and need no HTTP.
    from dohost.server.app import Server, ServerOptions

    return Server(
        host.fetch,
        ServerOptions(port=0, dev=True),
        clock=clock,
        log=log,
        entropy=entropy,
        compresses_sockets=host.compresses_sockets,
    )


class Outbound:
    """Gives the program's outgoing requests to what the test has set; `internet` says what that is now."""

    def __init__(self, internet: Callable[[], Internet | None]) -> None:
        self._internet = internet

    async def fetch(self, request: Request) -> Response:
        """Answer as the test does. Raises: OSError if it has no answer."""
        internet = self._internet()
        if internet is None:
            raise OSError(
                f"The program fetched {request.url}, but tests have no network. Answer for it: "
                "dohost.internet = a function of the request that returns a Response."
            )
        answer = internet(request)
        return await answer if inspect.isawaitable(answer) else answer
