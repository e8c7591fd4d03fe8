"""The bytes of R2 objects: one file each under `<bucket>/blobs/`, written and read in pieces.

A blob is complete and synced before a row names it, and never changes after that; it is removed after the
row that named it is gone. Bodies that are being read keep their blobs: what was replaced or deleted meanwhile
is removed when its last reader is done. Removing may take long, so threads do it, and may fail: what is left then, or by a
crash, is removed before the first blob of the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

import msgspec

from dohost.clock import Entropy
from dohost.errors import HostError
from dohost.simulators.chunks import chunks_of
from dohost.simulators.failures import as_told, failed_file
from dohost.simulators.r2_arguments import failed
from dohost.storage.directories import make_directory

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A blob that is on the disk, and its digests in hex."""

    name: str
    size: int
    digests: dict[str, str]


class Piece(msgspec.Struct, frozen=True):
    """Some bytes of a blob."""

    blob: str
    offset: int
    length: int


class Blobs:
    """The blobs of one bucket."""

    def __init__(self, directory: Path, entropy: Entropy) -> None:
        self._directory = directory
        self._entropy = entropy
        self._readers: dict[str, int] = {}
        self._doomed: set[str] = set()
        self._removals: set[asyncio.Future[None]] = set()
        self._threads = 0

    @property
    def is_busy(self) -> bool:
        """Whether a thread reads or writes a blob now."""
        return self._threads > 0 or bool(self._removals)

    async def write(self, chunks: AsyncIterator[bytes], algorithms: Iterable[str]) -> Written:
        """Write a new blob, durably; nothing of it is left if `chunks` raises. Raises: HostError."""
        name = self._entropy.token(16).hex()
        path = self._directory / name
        hashes = {each: hashlib.new(each, usedforsecurity=False) for each in algorithms}
        size = 0
        await self.in_thread(make_directory, self._directory)
        file = await self.in_thread(_create, path)
        try:
            async for chunk in chunks:
                size += len(chunk)
                await self.in_thread(_append, file, chunk, tuple(hashes.values()))
            await self.in_thread(_finish, file, self._directory)
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk, also for what is buffered
                file.close()
            await self.remove((name,))
            raise
        digests = {each: made.hexdigest() for each, made in hashes.items()}
        return Written(name=name, size=size, digests=digests)

    def read(self, pieces: Sequence[Piece]) -> BlobReader:
        """Return the bytes of `pieces`, which are kept until the reader is done or dropped."""
        return BlobReader(self, self._directory, pieces)

    async def remove(self, names: Collection[str]) -> None:
        """Remove blobs that no row names any more, now or after their readers."""
        held = {name for name in names if name in self._readers}
        self._doomed |= held
        if free := [name for name in names if name not in held]:
            await asyncio.shield(self._remove_in_thread(free))

    async def remove_others(self, known: AbstractSet[str]) -> None:
        """Remove what a crash left: blobs that no row names and nobody reads. Raises: HostError."""
        await self.in_thread(_remove_others, self._directory, known | self._readers.keys())

    async def settled(self) -> None:
        """Wait until everything is removed that should be."""
        while self._removals:
            await asyncio.wait(tuple(self._removals))

    def _remove_in_thread(self, names: Sequence[str]) -> asyncio.Future[None]:
        paths = [self._directory / name for name in names]
        removal = asyncio.get_running_loop().run_in_executor(None, _remove, paths)
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        return removal

    async def in_thread(
        self,
        function: Callable[Arguments, Result],
        *given: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Call what works on a blob in a thread. Raises: HostError."""
        self._threads += 1
        try:
            return await asyncio.to_thread(function, *given, **named)
        except OSError as error:
            raise failed_file(error) from error
        finally:
            self._threads -= 1

    def hold(self, name: str) -> None:
        """Keep a blob for a reader."""
        self._readers[name] = self._readers.get(name, 0) + 1

    def release(self, name: str) -> None:
        """Give a blob up after `hold`."""
        count = self._readers.pop(name) - 1
        if count:
            self._readers[name] = count
        elif name in self._doomed:
            self._doomed.discard(name)
            try:
                self._remove_in_thread((name,))
            except RuntimeError:  # a reader that was dropped after its loop: nothing waits any more
                _remove([self._directory / name])


class BlobReader:
    """Iterates over bytes of blobs; releases them at the end, when closed, or when dropped."""

    def __init__(self, blobs: Blobs, directory: Path, pieces: Sequence[Piece]) -> None:
        self._blobs = blobs
        self._held = list(dict.fromkeys(piece.blob for piece in pieces))
        for name in self._held:
            blobs.hold(name)
        self._source = _chunks(directory, pieces, blobs)

    def __aiter__(self) -> BlobReader:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._source)
        except (HostError, OSError) as error:
            self._release()
            failure = error if isinstance(error, HostError) else failed_file(error)
            raise as_told(failure, lambda _, reason: failed("get", 10001, reason)) from error
        except BaseException:
            self._release()
            raise

    async def aclose(self) -> None:
        """Stop reading."""
        await self._source.aclose()
        self._release()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for name in held:
            self._blobs.release(name)


async def _chunks(
    directory: Path, pieces: Sequence[Piece], blobs: Blobs
) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        path = directory / piece.blob
        file = await blobs.in_thread(_open_at, path, piece.offset)
        async with contextlib.aclosing(
            chunks_of(path, file, piece.length, blobs.in_thread)
        ) as chunks:
            async for chunk in chunks:
                yield chunk


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file


def _append(file: BinaryIO, chunk: bytes, hashes: Sequence[hashlib._Hash]) -> None:
    file.write(chunk)
    for each in hashes:
        each.update(chunk)


def _finish(file: BinaryIO, directory: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # Whoever asked has nothing to do with it, and the next run tries again.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _remove_others(directory: Path, known: AbstractSet[str]) -> None:
    if directory.is_dir():
        _remove(path for path in directory.iterdir() if path.name not in known)
