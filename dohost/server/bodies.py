"""Request bodies as they arrive: bytes where all of it is here already, else a stream that pulls.

Small JSON posts come in one segment with their fields; they become bytes without a wait or a copy.
Anything else is read chunk by chunk as Worker code asks for it, so a slow program makes the client
wait (the reader stops the transport at `read_ahead_bytes`). A client that expects `100 Continue` gets it
at the first read and not before, so a body that nobody wants is never sent.

Invariant: the bound on the body holds for what really arrives, whatever Content-Length said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import StreamReader
from workers.streams import ReadableStream

if TYPE_CHECKING:
    from dohost.server.exchange import Exchange

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyRefused(OSError):
    """The request body can't be read on; `status` is the answer unless the program has another."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class IncomingBody:
    """The chunks of one request's body, as an async iterator for `ReadableStream`."""

    __slots__ = ("_bytes_left", "_exchange")

    def __init__(self, exchange: Exchange, *, bytes_max: int) -> None:
        self._exchange = exchange
        self._bytes_left = bytes_max

    def __aiter__(self) -> IncomingBody:
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk. Cancel-safe.

        Raises: BodyRefused if the body is too long, malformed or cut short.
        """
        exchange = self._exchange
        if exchange.is_continue_due:
            exchange.send_continue()
        try:
            chunk = await exchange.payload.readany()
        except Exception as error:  # aiohttp raises unlike things here; all mean "no more body"
            raise exchange.refuse_body(BodyRefused(f"request body: {error}", status=400)) from error
        if not chunk:
            raise StopAsyncIteration
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise exchange.refuse_body(BodyRefused("request body is too large", status=413))
        return chunk

    async def aclose(self) -> None:
        """Read no more; what still arrives is dropped after the answer."""


def body_of(exchange: Exchange, payload: StreamReader, *, bytes_max: int) -> bytes | ReadableStream:
    """Return the body of a request that has one.

    Raises: BodyRefused if the part that is here is too long already.
    """
    if not payload.is_eof() or payload.exception() is not None:
        return ReadableStream(IncomingBody(exchange, bytes_max=bytes_max))
    content = payload.read_nowait()
    if len(content) > bytes_max:
        raise exchange.refuse_body(BodyRefused("request body is too large", status=413))
    return content
