"""Byte streams with backpressure: the side that is written, and the pipe between the two sides.

A `TransformStream` is a pipe between a writer and a reader of the same loop: a write starts when it is
called, awaited or not, and its awaitable completes when a reader has taken the chunk. One writer at a
time holds the lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Protocol

from dohost.errors import JsTypeError
from workers.streams import ReadableStream
from workers.values import StreamMover, Transferable

WRITER_LOCKED = "This WritableStream is currently locked to a writer."
WRITER_CLOSED = "This WritableStream has been closed."


class Sink(Protocol):
    """Where a writer's chunks go; each call acts at once."""

    def write(self, chunk: bytes | memoryview) -> Awaitable[None]: ...

    def close(self) -> Awaitable[None]: ...

    def abort(self, reason: object) -> Awaitable[None]: ...


class TransformStream:
    """An identity transform: what is written to `writable` is read from `readable`."""

    __slots__ = ("readable", "writable")

    def __init__(self) -> None:
        pipe = _Pipe()
        self.readable = ReadableStream(PipeReader(pipe))
        self.writable = WritableStream(pipe)


class WritableStream(Transferable):
    """The end of a TransformStream that takes chunks."""

    __slots__ = ("_is_locked", "sink")

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._is_locked = False

    @property
    def locked(self) -> bool:
        return self._is_locked

    def getWriter(self) -> WritableStreamDefaultWriter:
        """Lock the stream to a new writer. Raises: JsTypeError if it is locked."""
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        self._is_locked = True
        return WritableStreamDefaultWriter(self, self.sink)

    def abort(self, reason: object = None) -> Awaitable[None]:
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        return self.sink.abort(reason)

    def close(self) -> Awaitable[None]:
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        return self.sink.close()

    def transfer(self, streams: StreamMover) -> WritableStream:
        """Move the stream to the other side of a call; this one stays locked."""
        if self._is_locked:
            raise JsTypeError("The WritableStream has been locked to a writer.")
        self._is_locked = True
        return streams.writable(WritableStream(self.sink))


class WritableStreamDefaultWriter:
    """Writes chunks; each call acts at once and returns what completes when it is done."""

    __slots__ = ("_sink", "_stream")

    def __init__(self, stream: WritableStream, sink: Sink) -> None:
        self._stream = stream
        self._sink = sink

    def write(self, chunk: bytes | memoryview) -> Awaitable[None]:
        """Queue a chunk; the awaitable completes when a reader took it.

        Raises: JsTypeError for text, or after close; what `cancel` or `abort` gave as the reason.
        """
        return self._sink.write(chunk)

    def close(self) -> Awaitable[None]:
        """End the stream after the chunks written so far; completes when they were read."""
        return self._sink.close()

    def abort(self, reason: object = None) -> Awaitable[None]:
        """Drop what was not read yet; the reader gets `reason` as an error."""
        return self._sink.abort(reason)

    def releaseLock(self) -> None:
        self._stream._is_locked = False


class _Pipe:
    """The queue between a writer and a reader: chunks with the future of each write."""

    __slots__ = ("_failure", "_is_closed", "_reader", "_writes")

    def __init__(self) -> None:
        # The chunk None is the end of the stream.
        self._writes: deque[tuple[bytes | None, asyncio.Future[None]]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._is_closed = False

    def write(self, chunk: bytes | memoryview) -> asyncio.Future[None]:
        if isinstance(chunk, str):
            raise JsTypeError(
                "This TransformStream is being used as a byte stream, but received a string on its "
                "writable side. If you wish to write a string, you'll probably want to explicitly "
                "UTF-8-encode it with TextEncoder."
            )
        return self._queue(bytes(chunk))

    def close(self) -> asyncio.Future[None]:
        done = self._queue(None)
        self._is_closed = True
        return done

    def abort(self, reason: object) -> asyncio.Future[None]:
        self.cancel(reason)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def cancel(self, reason: object) -> None:
        """Fail every write that waits and every later one; the first reason stays."""
        if self._failure is None:
            self._failure = _as_error(reason)
        while self._writes:
            _, done = self._writes.popleft()
            if not done.done():
                done.set_exception(self._failure)
        self._wake()

    async def take(self) -> bytes | None:
        """Return the next chunk, None at the end; waits for a write. Cancel-safe."""
        while True:
            if self._writes:
                chunk, done = self._writes.popleft()
                if not done.done():
                    done.set_result(None)
                return chunk
            if self._failure is not None:
                raise self._failure
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def _queue(self, chunk: bytes | None) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A write that nobody awaits may fail without a complaint, as the reader hears the failure.
        done.add_done_callback(_note_failure)
        if self._failure is not None:
            done.set_exception(self._failure)
        elif self._is_closed:
            done.set_exception(JsTypeError(WRITER_CLOSED))
        else:
            self._writes.append((chunk, done))
            self._wake()
        return done

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class PipeReader:
    """The source of a TransformStream's readable side."""

    __slots__ = ("_pipe",)

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def __aiter__(self) -> PipeReader:
        return self

    def cancel(self, reason: object) -> None:
        self._pipe.cancel(reason)

    async def __anext__(self) -> bytes:
        chunk = await self._pipe.take()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


def _note_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()


def _as_error(reason: object) -> BaseException:
    if isinstance(reason, asyncio.CancelledError):
        return JsTypeError("The stream was aborted because its writer was cancelled.")
    if isinstance(reason, BaseException):
        return reason
    return JsTypeError("The stream was cancelled." if reason is None else str(reason))
