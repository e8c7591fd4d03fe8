"""A cut: the state of every object at one moment, copied while they go on.

Between two steps of the loop nothing is written anywhere, so the positions of all logs at that moment are
a consistent cut over all objects: whatever an object had heard of another is in it. Taking the positions
of the live ones is all that happens then. A log only grows while checkpoints rest, so the rest is read
later, in threads: an object that starts before its turn notes its position first, one that is new since
then is not in the cut. Files that go or are replaced while it is open (a facet is deleted, an object removed) are
kept for it, in a directory beside the objects. A cut whose user has gone ends by itself, because the logs grow meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dohost.errors import CallerError, Quarantined
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.checkpoints import Checkpointer
from dohost.storage.copies import Copied, copy_out
from dohost.storage.facet_index import index_path, is_facet
from dohost.storage.integrity import check_files
from dohost.storage.log_file import log_path, read_header
from dohost.storage.restore import committed_frames
from dohost.storage.timeline import LogState

UNUSED_MAX_S = 60.0
Address = tuple[str, str]


class Stored(Protocol):
    """The files of a live object."""

    path: Path
    exists: bool

    def log_state(self) -> LogState: ...


class Live(Protocol):
    """A live object."""

    key: ObjectKey

    @property
    def database(self) -> Stored: ...


class Cut:
    """Where each object was; `newer` had no file then, `kept` is where files are that have gone since.

    `keeps`: whether they are kept at all.
    """

    def __init__(self, number: int, *, keeps: bool) -> None:
        self.number = number
        self.keeps = keeps
        self.logs: dict[Address, LogState] = {}
        self.newer: set[Address] = set()
        self.kept: dict[Address, Path] = {}
        # How many files are being kept right now.
        self.keeping = 0
        # What is being copied; each event is set at the end of that.
        self.copying: dict[Address, asyncio.Event] = {}
        self.timer: asyncio.TimerHandle | None = None

    def note(self, live: Live) -> None:
        """Note where an object is, unless that is known."""
        address = live.key.address
        if address in self.logs or address in self.newer:
            return
        if live.database.exists:
            self.logs[address] = live.database.log_state()
        else:
            self.newer.add(address)


class Cuts:
    """The cuts that are being copied."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, checkpointer: Checkpointer, directory: Path
    ) -> None:
        """`directory`: of its own, on the file system of the objects; what a crash left there goes."""
        self._loop = loop
        self._checkpointer = checkpointer
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        self._open: dict[int, Cut] = {}
        self._count = 0

    def started(self, live: Live) -> None:
        """An object has opened its file and not written yet."""
        for cut in self._open.values():
            cut.note(live)

    async def begin(self, live: Callable[[], Iterable[Live]], *, keeps: bool = True) -> Cut:
        """Take a cut of the files; `live` tells what lives at that moment.

        `keeps`: keep files that go before they are copied; who sees to it that none goes needs no such thing.
        """
        await self._checkpointer.rest()
        self._count += 1
        cut = self._open[self._count] = Cut(self._count, keeps=keeps)
        for each in live():
            cut.note(each)
        self._touch(cut)
        return cut

    async def copy(
        self, number: int, address: Address, *, path: Path, target: Path
    ) -> Copied | None:
        """Copy one object's state; None if it was not there. Raises: CallerError, HostError."""
        cut = self._opened(number)
        if address in cut.newer:
            return None
        # However long it takes: a checkpoint in the middle would tear the copy.
        ended = cut.copying[address] = asyncio.Event()
        try:
            copied = await self._copied(cut, address, cut.kept.get(address, path), target)
        finally:
            cut.copying.pop(address, None)
            ended.set()
            self._touch(cut)
        if copied is not None and self._open.get(number) is not cut:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            raise CallerError("This backup was ended while an object was copied.")
        return copied

    async def _copied(self, cut: Cut, address: Address, path: Path, target: Path) -> Copied | None:
        found = await asyncio.to_thread(log_state_of, path)
        if found is None:
            return None
        # It may have started meanwhile, and then has noted where it was before it wrote.
        log = cut.logs.setdefault(address, found)
        return await asyncio.to_thread(copy_out, path, log, target)

    async def keep(self, address: Address, path: Path) -> None:
        """Keep files that are about to go or change for the cuts that they are in; no instance has them open."""
        for cut in tuple(self._open.values()):
            if (copying := cut.copying.get(address)) is not None:
                await copying.wait()
            if self._open.get(cut.number) is not cut or not cut.keeps:
                continue
            if address in cut.newer or address in cut.kept:
                continue
            try:
                found = await asyncio.to_thread(log_state_of, path)
            except Quarantined:
                found = None
            if found is None:
                cut.newer.add(address)
                continue
            kept = self._directory / str(cut.number) / address[0] / path.name
            cut.keeping += 1
            try:
                await asyncio.to_thread(_link, path, kept)
            finally:
                cut.keeping -= 1
                if self._open.get(cut.number) is not cut:
                    self._drop_kept(cut)
            cut.logs.setdefault(address, found)
            cut.kept[address] = kept

    def installed(self, address: Address) -> None:
        """Note a file that was not there when the open cuts were taken."""
        for cut in self._open.values():
            if address not in cut.logs:
                cut.newer.add(address)

    def kept_file(self, number: int, address: Address) -> Path | None:
        """Return where an object's file is kept, with its index of facets beside it. Raises: CallerError."""
        return self._opened(number).kept.get(address)

    def kept_facets(self, number: int, root: Address) -> set[int]:
        """Return the numbers of an object's facets whose files are kept. Raises: CallerError."""
        unique_key, object_id = root
        facets = [
            facet.rpartition(".")
            for key, facet in self._opened(number).kept
            if key == unique_key and is_facet(facet)
        ]
        return {int(own) for above, _, own in facets if above == object_id}

    def end(self, number: int) -> None:
        """Let checkpoints go on. Idempotent."""
        cut = self._open.pop(number, None)
        if cut is not None:
            if cut.timer is not None:
                cut.timer.cancel()
            self._drop_kept(cut)
            self._checkpointer.go_on()

    def _opened(self, number: int) -> Cut:
        cut = self._open.get(number)
        if cut is None:
            raise CallerError("This backup has ended: nothing was asked for too long.")
        self._touch(cut)
        return cut

    def _drop_kept(self, cut: Cut) -> None:
        """Remove what is kept for a cut that has ended, unless somebody is about to add to it and does it then."""
        if not cut.keeping:
            shutil.rmtree(self._directory / str(cut.number), ignore_errors=True)

    def _touch(self, cut: Cut) -> None:
        if cut.timer is not None:
            cut.timer.cancel()
        if self._open.get(cut.number) is cut:
            cut.timer = self._loop.call_later(UNUSED_MAX_S, self._end_unused, cut)

    def _end_unused(self, cut: Cut) -> None:
        if cut.copying:
            self._touch(cut)
        else:
            self.end(cut.number)


def _link(path: Path, kept: Path) -> None:
    """Give the files of a database a second name, or a copy where the file system has no such thing."""
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for source, target in (
        (str(path), str(kept)),
        (log_path(path), log_path(kept)),
        (str(index_path(path)), str(index_path(kept))),
    ):
        if os.path.exists(source):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def log_state_of(path: Path) -> LogState | None:
    """Return the log of a file, None if it isn't there. Raises: Quarantined."""
    if not path.exists():
        return None
    check_files(path)
    return LogState(header=read_header(path), frames=committed_frames(path))
