"""A cut: the state of every object at one moment, copied while they go on.

Between two steps of the loop nothing is written anywhere, so the positions of all logs at that moment are
a consistent cut over all objects: whatever an object had heard of another is in it. Taking the positions
of the live ones is all that happens then. A log only grows while checkpoints rest, so the rest is read
later, in threads: an object that starts before its turn notes its position first, one that is new since
then is not in the cut. A cut whose user has gone ends by itself, because the logs grow meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dohost.errors import CallerError
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.checkpoints import Checkpointer
from dohost.storage.copies import Copied, copy_out
from dohost.storage.integrity import check_files
from dohost.storage.log_file import read_header
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
    """Where each object was; `newer` had no file then."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.logs: dict[Address, LogState] = {}
        self.newer: set[Address] = set()
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

    def __init__(self, loop: asyncio.AbstractEventLoop, checkpointer: Checkpointer) -> None:
        self._loop = loop
        self._checkpointer = checkpointer
        self._open: dict[int, Cut] = {}
        self._count = 0

    def started(self, live: Live) -> None:
        """An object has opened its file and not written yet."""
        for cut in self._open.values():
            cut.note(live)

    async def begin(self, live: Callable[[], Iterable[Live]]) -> Cut:
        """Take a cut of the files; `live` tells what lives at that moment."""
        await self._checkpointer.rest()
        self._count += 1
        cut = self._open[self._count] = Cut(self._count)
        for each in live():
            cut.note(each)
        self._touch(cut)
        return cut

    async def copy(
        self, number: int, address: Address, *, path: Path, target: Path
    ) -> Copied | None:
        """Copy one object's state; None if it was not there. Raises: CallerError, HostError."""
        cut = self._open.get(number)
        if cut is None:
            raise CallerError("This backup has ended: nothing was asked for too long.")
        self._touch(cut)
        if address in cut.newer:
            return None
        found = await asyncio.to_thread(log_state_of, path)
        if found is None:
            return None
        # It may have started meanwhile, and then has noted where it was before it wrote.
        log = cut.logs.setdefault(address, found)
        return await asyncio.to_thread(copy_out, path, log, target)

    def end(self, number: int) -> None:
        """Let checkpoints go on. Idempotent."""
        cut = self._open.pop(number, None)
        if cut is not None:
            if cut.timer is not None:
                cut.timer.cancel()
            self._checkpointer.go_on()

    def _touch(self, cut: Cut) -> None:
        if cut.timer is not None:
            cut.timer.cancel()
        cut.timer = self._loop.call_later(UNUSED_MAX_S, self.end, cut.number)


def log_state_of(path: Path) -> LogState | None:
    """Return the log of a file, None if it isn't there. Raises: Quarantined."""
    if not path.exists():
        return None
    check_files(path)
    return LogState(header=read_header(path), frames=committed_frames(path))
