"""Streams that were moved to the other side of a call: chunk by chunk, behind the gates.

A `ReadableStream` that crossed is still produced where it comes from: the code behind it runs as events of
its object, and each chunk waits for the writes that were made before it. A pipe's chunks are there without
running anything, also inside a critical section. A `WritableStream` that crossed takes chunks only when
the writes of the object that writes them are durable.

A reader that is cut off, because the source failed or its object is gone, hears that the stream ended
prematurely, with the failure as the cause; a writer that goes away without closing says so to the reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from workers.streams import ReadableStream
from workers.writable import PipeReader, Sink, WritableStream

from dohost.errors import JsException
from dohost.objects.rpc import Reply
from dohost.runtime.leaving import when_durable
from dohost.runtime.origin import Origin, PlainSink, Release, release_soon
from dohost.runtime.turns import current_owner

CUT_OFF = "ReadableStream received over RPC disconnected prematurely."
WRITER_GONE = "WritableStream received over RPC was disconnected because the remote execution context has ended."


class StreamMover:
    """Moves streams from `origin` to the other side of a call."""

    __slots__ = ("_origin",)

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def readable(self, stream: ReadableStream) -> ReadableStream:
        """Return the stream as the other side reads it."""
        source = stream.source
        return ReadableStream(None if source is None else MovedSource(source, self._origin))

    def writable(self, stream: WritableStream) -> WritableStream:
        """Return the stream as the other side writes it."""
        return WritableStream(_MovedSink(stream.sink))


def moved_from_here(stream: ReadableStream) -> ReadableStream:
    """Return a stream that the running code gives to another object or to the network."""
    return StreamMover(Origin.here()).readable(stream)


class MovedSource:
    """The chunks of `source`, produced at `origin`, which is kept until they end."""

    __slots__ = ("_chunk", "_loop", "_origin", "_release", "_source")

    def __init__(self, source: AsyncIterator[bytes], origin: Origin) -> None:
        self._source: AsyncIterator[bytes] | None = source
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        # If the origin is reset, nobody will write to its pipe any more.
        self._release: Release | None = origin.hold(
            source.cancel if isinstance(source, PipeReader) else None
        )
        self._chunk: bytes = b""

    def __aiter__(self) -> MovedSource:
        return self

    async def __anext__(self) -> bytes:
        source = self._source
        if source is None:
            raise StopAsyncIteration
        try:
            has_more = await self._next(source)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever the source raised ends the stream in one way
            self._end()
            raise JsException(CUT_OFF) from error
        if not has_more:
            self._end()
            raise StopAsyncIteration
        chunk, self._chunk = self._chunk, b""
        return chunk

    async def cancel(self, reason: object) -> None:
        """Give up the rest, and close the source where it comes from."""
        source = self._source
        if source is None:
            return
        stream = ReadableStream(source)
        if not self._origin.is_gone:
            await self._at_origin(lambda: stream.cancel(reason))
        self._end()

    def __del__(self) -> None:
        if self._release is not None:
            release_soon(self._loop, self._release)

    async def _next(self, source: AsyncIterator[bytes]) -> bool:
        owner = self._origin.owner
        if isinstance(source, PipeReader):
            has_chunk = await self._pull()
            durable = None if owner is None else owner.barrier()
            if durable is not None:
                landed: asyncio.Future[None] = self._loop.create_future()
                durable.add_callback(lambda error: _settle(landed, error))
                await landed
            return has_chunk
        return bool(await self._at_origin(self._pull))

    async def _at_origin(self, entry: Callable[[], object]) -> object:
        reply = Reply(loop=self._loop)
        owner = self._origin.owner
        self._origin.run(entry, PlainSink(reply) if owner is None else owner.answers(reply))
        return await reply

    async def _pull(self) -> bool:
        """Fetch the next chunk; what goes through the gate is only whether there is one."""
        assert self._source is not None, "a stream that has ended is not pulled"
        try:
            self._chunk = await anext(self._source)
        except StopAsyncIteration:
            return False
        return True

    def _end(self) -> None:
        self._source = None
        release, self._release = self._release, None
        if release is not None:
            release()


class _MovedSink:
    """Hands chunks to `sink` when they may leave the object that writes them."""

    __slots__ = ("_is_ended", "_loop", "_release", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._is_ended = False
        self._release: Release | None = None

    def write(self, chunk: bytes | memoryview) -> Awaitable[None]:
        content = chunk if isinstance(chunk, str) else bytes(chunk)
        writer = current_owner.get()
        if self._release is None and writer is not None:
            # An object that has begun to write is kept until it closes the stream, or is reset.
            self._release = writer.hold(lambda _: _disconnect(self._sink))
        return self._send(lambda: self._sink.write(content))

    def close(self) -> Awaitable[None]:
        self._end()
        return self._send(self._sink.close)

    def abort(self, reason: object) -> Awaitable[None]:
        self._end()
        return self._send(lambda: self._sink.abort(reason))

    def __del__(self) -> None:
        if not self._is_ended:
            release_soon(self._loop, partial(_disconnect, self._sink))

    def _end(self) -> None:
        self._is_ended = True
        release, self._release = self._release, None
        if release is not None:
            release()

    def _send(self, act: Callable[[], Awaitable[None]]) -> Awaitable[None]:
        done = self._loop.create_future()

        def go() -> None:
            try:
                sent = asyncio.ensure_future(act())
            except JsException as error:
                # A chunk that the sink refuses at once; others wait for the same commit.
                _settle(done, error)
                return
            sent.add_done_callback(
                lambda _: _settle(
                    done, asyncio.CancelledError() if sent.cancelled() else sent.exception()
                )
            )

        when_durable(go, lambda error: _settle(done, error))
        return done


def _disconnect(sink: Sink) -> None:
    sink.abort(JsException(WRITER_GONE))


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
