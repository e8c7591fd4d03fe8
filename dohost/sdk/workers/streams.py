"""Byte streams with backpressure: ReadableStream, and the pipe that user code writes into.

A `ReadableStream` pulls: its source (any async iterator of bytes) produces the next chunk only when a
reader asks for it, so a slow reader slows the source. A `TransformStream` is a pipe between a writer
and a reader of the same loop: a write starts when it is called, awaited or not, and its awaitable
completes when a reader has taken the chunk.

Invariants: (1) one reader at a time holds the lock; (2) chunks come out in the order they went in, each
once; (3) after the end, an error or `cancel` the source is closed and no more is pulled from it.
Cancelling a task that reads loses no chunk of a pipe; of another source it ends the source, as an async
generator does when cancelled. Not here: underlying sources, BYOB readers, `pipeThrough`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import Self

from dohost.errors import JsTypeError
from workers.values import ArrayBuffer, JsDict, Transferable

LOCKED = "This ReadableStream is currently locked to a reader."
WRITER_LOCKED = "This WritableStream is currently locked to a writer."
WRITER_CLOSED = "This WritableStream has been closed."
RELEASED = "This reader has been released."


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
        if isinstance(source, _PipeReader):
            source.pipe.cancel(reason)
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


class TransformStream:
    """An identity transform: what is written to `writable` is read from `readable`."""

    __slots__ = ("readable", "writable")

    def __init__(self) -> None:
        pipe = _Pipe()
        self.readable = ReadableStream(_PipeReader(pipe))
        self.writable = WritableStream(pipe)


class WritableStream(Transferable):
    """The end of a TransformStream that takes chunks."""

    __slots__ = ("_is_locked", "_pipe")

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._is_locked = False

    @property
    def locked(self) -> bool:
        return self._is_locked

    def getWriter(self) -> WritableStreamDefaultWriter:
        """Lock the stream to a new writer. Raises: JsTypeError if it is locked."""
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        self._is_locked = True
        return WritableStreamDefaultWriter(self, self._pipe)

    def abort(self, reason: object = None) -> Awaitable[None]:
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        return self._pipe.abort(reason)

    def close(self) -> Awaitable[None]:
        if self._is_locked:
            raise JsTypeError(WRITER_LOCKED)
        return self._pipe.close()


class WritableStreamDefaultWriter:
    """Writes chunks; each call acts at once and returns what completes when it is done."""

    __slots__ = ("_pipe", "_stream")

    def __init__(self, stream: WritableStream, pipe: _Pipe) -> None:
        self._stream = stream
        self._pipe = pipe

    def write(self, chunk: bytes | memoryview) -> Awaitable[None]:
        """Queue a chunk; the awaitable completes when a reader took it.

        Raises: JsTypeError for text, or after close; what `cancel` or `abort` gave as the reason.
        """
        return self._pipe.write(chunk)

    def close(self) -> Awaitable[None]:
        """End the stream after the chunks written so far; completes when they were read."""
        return self._pipe.close()

    def abort(self, reason: object = None) -> Awaitable[None]:
        """Drop what was not read yet; the reader gets `reason` as an error."""
        return self._pipe.abort(reason)

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


class _PipeReader:
    """The source of a TransformStream's readable side."""

    __slots__ = ("pipe",)

    def __init__(self, pipe: _Pipe) -> None:
        self.pipe = pipe

    def __aiter__(self) -> _PipeReader:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.pipe.take()
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


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
