"""A WebSocket of a program under test, from the client's side and without a network.

It takes the socket of a 101 response as the server does, so frames, closes and their order are those that
a real client sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from workers.socket_end import NO_STATUS, Close, Failed, Frame
from workers.websocket import WebSocket

RECEIVE_TIMEOUT_S = 5.0


class _Inbox:
    """Keeps what the program sent until the test takes it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | bytes | Close] = asyncio.Queue()
        self.close: Close | None = None

    def receive(self, frame: Frame) -> None:
        """Take the next frame."""
        assert not isinstance(frame, Failed), "only a client on the wire can break the protocol"
        if isinstance(frame, Close):
            self.close = frame
        self.frames.put_nowait(frame)

    def gone(self) -> None:
        """Its last frame said so."""

    def abandoned(self) -> None:
        """The program dropped its end: a test that waits for a frame will say that none came."""


class SocketClient:
    """The client's end of one WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._inbox = _Inbox()
        self._end = socket.couple(self._inbox)

    def __repr__(self) -> str:
        state = "open" if self.closed is None else f"closed with {self.closed.code}"
        return f"<SocketClient {state}, {self._inbox.frames.qsize()} frames waiting>"

    @property
    def closed(self) -> Close | None:
        """The program's Close, once it has come."""
        return self._inbox.close

    def send(self, message: str | bytes) -> None:
        """Send a message to the program."""
        self._end.relay(message)

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Say goodbye, as a client does that closes."""
        self._end.relay(Close(code=NO_STATUS if code is None else code, reason=reason))

    def disconnect(self) -> None:
        """Be gone without a word: the program sees code 1006."""
        self._end.disconnect()

    async def receive(self, *, timeout_s: float = RECEIVE_TIMEOUT_S) -> str | bytes | Close:
        """Return the next message, or the Close. Raises: TimeoutError if none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._inbox.frames.get()
        except TimeoutError:
            raise TimeoutError(
                f"nothing came through {self!r} within {timeout_s:g} s; did the program accept the "
                "socket and send something?"
            ) from None

    async def wait_closed(self, *, timeout_s: float = RECEIVE_TIMEOUT_S) -> Close:
        """Return the program's Close; messages before it are dropped."""
        while not isinstance(frame := await self.receive(timeout_s=timeout_s), Close):
            pass
        return frame

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Yield messages until the program closes."""
        while not isinstance(frame := await self.receive(), Close):
            yield frame
