"""Byte streams with backpressure: the side that is read.

A `ReadableStream` pulls: its source (any async iterator of bytes) produces the next chunk only when a
reader asks for it, so a slow reader slows the source.

Invariants: (1) one reader at a time holds the lock; (2) chunks come out in the order they went in, each
once; (3) after the end, an error or `cancel` the source is closed and no more is pulled from it.
Cancelling a task that reads loses no chunk of a pipe; of another source it ends the source, as an async
generator does when cancelled. Not here: underlying sources, BYOB readers, `pipeThrough`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from dohost.errors import JsTypeError
from workers.values import ArrayBuffer, JsDict, StreamMover, Transferable

if TYPE_CHECKING:
    from workers.writable import WritableStream

LOCKED = "This ReadableStream is currently locked to a reader."
RELEASED = "This reader has been released."


@runtime_checkable
class Cancellable(Protocol):
    """A source that wants to know why it is given up."""

    def cancel(self, reason: object) -> Awaitable[None] | None: ...


class ReadableStream(Transferable):
    """Chunks of bytes that are produced as they are read.

    `async for chunk in stream` yields buffers (bytes with `to_bytes()` and `to_py()`).
    """

    __slots__ = ("_is_locked", "_source", "is_disturbed")

    def __init__(self, source: AsyncIterator[bytes] | None = None) -> None:
        self._source = source
        self._is_locked = False
        self.is_disturbed = False

    @classmethod
    def from_async_iterable(cls, chunks: AsyncIterable[bytes]) -> ReadableStream:
        """Return a stream of these chunks; an async generator is closed when the stream is cancelled."""
        return cls(aiter(chunks))

    @classmethod
    def from_bytes(cls, content: bytes) -> ReadableStream:
        """Return a stream of one chunk, or of none if there is no content."""
        return cls(_once(content) if content else None)

    @property
    def locked(self) -> bool:
        return self._is_locked

    def getReader(self) -> ReadableStreamDefaultReader:
        """Lock the stream to a new reader. Raises: JsTypeError if it is locked."""
        self._lock()
        return ReadableStreamDefaultReader(self)

    def cancel(self, reason: object = None) -> Awaitable[None]:
        """Give up the rest of the stream and close its source."""
        if self._is_locked:
            raise JsTypeError(LOCKED)
        return self._cancel(reason)

    def tee(self) -> list[ReadableStream]:
        """Lock this stream and return two that each yield all of it.

        The slower of the two is buffered without bound; cancelling both cancels this stream.
        """
        self._lock()
        fork = _Fork(self)
        return [ReadableStream(fork.branch(0)), ReadableStream(fork.branch(1))]

    @property
    def source(self) -> AsyncIterator[bytes] | None:
        """Where chunks come from, for a host that moves the stream; None at the end."""
        return self._source

    def transfer(self, streams: StreamMover) -> ReadableStream:
        """Move the stream to the other side of a call; this one stays locked."""
        if self._is_locked:
            raise JsTypeError("The ReadableStream has been locked to a reader.")
        if self.is_disturbed:
            raise JsTypeError("The ReadableStream has already been read.")
        self._lock()
        self.is_disturbed = True
        return streams.readable(ReadableStream(self._source))

    async def pipeTo(self, destination: WritableStream) -> None:
        """Write all of this stream to `destination`, then close it; an error aborts it."""
        writer = destination.getWriter()
        try:
            async for chunk in self:
                await writer.write(chunk)
        except BaseException as error:
            await writer.abort(error)
            raise
        await writer.close()

    async def read_all(self) -> bytes:
        """Read the stream to its end; the stream stays locked. Raises: what its source raises."""
        self._lock()
        chunks = []
        while (chunk := await self._pull()) is not None:
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def chunks(self) -> AsyncIterator[bytes]:
        """Lock the stream and return its chunks as they are, without the buffer methods."""
        self._lock()
        return _Chunks(self)

    def __aiter__(self) -> AsyncIterator[ArrayBuffer]:
        self._lock()
        return _Buffers(self)

    def __repr__(self) -> str:
        state = "locked" if self._is_locked else "unlocked"
        return f"<ReadableStream {state}{', disturbed' if self.is_disturbed else ''}>"

    def _lock(self) -> None:
        if self._is_locked:
            raise JsTypeError(LOCKED)
        self._is_locked = True

    async def _pull(self) -> bytes | None:
        """Return the next chunk that isn't empty, or None at the end."""
        self.is_disturbed = True
        while (source := self._source) is not None:
            try:
                chunk = await anext(source)
            except StopAsyncIteration:
                self._source = None
                return None
            if chunk:
                return chunk
        return None

    async def _cancel(self, reason: object) -> None:
        self.is_disturbed = True
        source, self._source = self._source, None
        if isinstance(source, Cancellable):
            cancelled = source.cancel(reason)
            if cancelled is not None:
                await cancelled
        elif source is not None and hasattr(source, "aclose"):
            await source.aclose()


class ReadableStreamDefaultReader:
    """Reads a stream chunk by chunk: `await reader.read()` has `.done` and `.value`."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ReadableStream) -> None:
        self._stream: ReadableStream | None = stream

    async def read(self) -> JsDict:
        chunk = await self._held()._pull()
        if chunk is None:
            return JsDict(done=True, value=None)
        return JsDict(done=False, value=ArrayBuffer(chunk))

    def cancel(self, reason: object = None) -> Awaitable[None]:
        return self._held()._cancel(reason)

    def releaseLock(self) -> None:
        """Unlock the stream; calling it again does nothing."""
        if self._stream is not None:
            self._stream._is_locked = False
            self._stream = None

    def _held(self) -> ReadableStream:
        if self._stream is None:
            raise JsTypeError(RELEASED)
        return self._stream


class _Chunks:
    """The iterator of a locked stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._stream._pull()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give up the rest of the stream."""
        await self._stream._cancel(None)


class _Buffers(_Chunks):
    """The same for Worker code, which expects JavaScript buffers."""

    __slots__ = ()

    async def __anext__(self) -> ArrayBuffer:
        return ArrayBuffer(await super().__anext__())


class _Fork:
    """The shared end of two branches of one stream."""

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream
        self._waiting: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._turn = asyncio.Lock()
        self._ended = [False, False]

    async def branch(self, side: int) -> AsyncIterator[bytes]:
        mine, other = self._waiting[side], self._waiting[1 - side]
        try:
            while True:
                async with self._turn:
                    if not mine:
                        chunk = await self._stream._pull()
                        if chunk is None:
                            return
                        mine.append(chunk)
                        if not self._ended[1 - side]:
                            other.append(chunk)
                yield mine.popleft()
        finally:
            self._ended[side] = True
            mine.clear()
            if all(self._ended):
                await self._stream._cancel(None)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
