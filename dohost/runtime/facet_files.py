"""The files of an object's facets, and the work on them while the object lives.

Deleting and cloning begin when the instances that had the files open have ended and everything they committed is
on the disk. Until the work is done its numbers are *busy*: who wants to start such a facet waits, also in a
later instance of the object; and nothing leaves the object that asked for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dohost.errors import DohostError, Quarantined, StorageFailure
from dohost.gates import Batch
from dohost.objects.rpc import Reply
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.tasks import spawn
from dohost.storage.copies import install, prepare_import
from dohost.storage.directories import sync_directory
from dohost.storage.facet_index import FacetIndex, index_path
from dohost.storage.log_file import log_path
from dohost.storage.removal import remove_files
from dohost.storage.schema import ObjectMeta

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


class FacetFiles:
    """The facets of one live root object, by the numbers of its index."""

    def __init__(self, root: Actor) -> None:
        """Read the index. Raises: Quarantined if it is damaged."""
        self.root = root
        self._class = root.object_class
        self._parts = self._class.parts
        # One for all instances: an entry may still be on its way to the disk when the next one begins.
        indexes, object_id = self._class.facet_indexes, root.key.object_id
        found = indexes.get(object_id)
        if found is None:
            found = indexes[object_id] = self._read_index()
        self.index = found

    def _read_index(self) -> FacetIndex:
        path = self._class.file_of(self.root.key.object_id)
        index = FacetIndex(path)
        # A facet is recorded after its entry is durable.
        if index.is_unfinished and self._parts.catalog.knows_facets(self.root.key):
            raise Quarantined(
                f"{index_path(path)} begins with zeros; its object's facets can't be told apart"
            )
        return index

    def key(self, parent: int, name: str) -> ObjectKey:
        """Return the key of a facet that is about to start; gives it a number."""
        is_new = self.index.number(parent, name) is None
        number = self.index.add(parent, name)
        if is_new:
            # Only a crash leaves a file without an entry; it has acknowledged nothing.
            path = self._path(number)
            if path.exists() or os.path.exists(log_path(path)):
                remove_files(path)
        return self._key(number)

    def busy(self, number: int) -> Batch | None:
        """Return what is done when nobody works on the facet's files, if somebody does."""
        return self._class.busy.get(self._id(number))

    def is_saved(self, object_id: str) -> bool:
        """Return whether the index knows a facet durably."""
        return self.index.is_saved(int(object_id.rpartition(".")[2]))

    def record(self, record: Callable[[], asyncio.Future[None]]) -> asyncio.Future[None]:
        """Make durable what has to be before a facet's first write counts; `record` is the last step."""
        root = self.root

        async def run() -> None:
            if not root.database.exists:
                root.storage.transactions.before_write(confirmed=True)
            await root.committed_so_far()
            await self._in_thread(self.index.save)
            await record()

        return spawn(self._parts.loop, run(), name="facet record")  # type: ignore[return-value] # gives None

    def delete(self, parent: Actor, numbers: Sequence[int]) -> None:
        """Delete the files of facets whose instances have ended."""
        if any(self._path(number).exists() for number in numbers):
            self._work(parent, numbers, lambda: self._remove(numbers))

    def clone(
        self,
        parent: Actor,
        pairs: Sequence[tuple[int, int]],
        *,
        doomed: Sequence[int],
        live: Sequence[Actor],
    ) -> None:
        """Copy the first facet of each pair over the second; `live` are those of the first that run."""

        async def run() -> None:
            for actor in live:
                await actor.committed_so_far()
            await self._remove(doomed)
            cut = await self._parts.cuts.begin(lambda: live, keeps=False)
            try:
                for source, target in pairs:
                    await self._copy(cut.number, source, target)
            finally:
                self._parts.cuts.end(cut.number)

        # The source waits too, or it would change while it is copied.
        self._work(parent, [*doomed, *(number for pair in pairs for number in pair)], run)

    def _work(
        self,
        parent: Actor,
        numbers: Sequence[int],
        work: Callable[[], Coroutine[object, object, None]],
    ) -> None:
        batch = Batch()
        before = [self._class.busy.get(self._id(number)) for number in numbers]
        unsettled = [self._class.unsettled_of(self._id(number)) for number in numbers]
        for number in numbers:
            self._class.busy[self._id(number)] = batch
        parent.output.lock_beside(batch)
        release = parent.hold()

        async def run() -> None:
            error: DohostError | None = None
            try:
                for each in (*before, *unsettled):
                    await self._done(each)
                await work()
            except DohostError as failure:
                error = failure
            except OSError as failure:
                error = StorageFailure(
                    f"the files of a facet of {self.root.key.object_id} could not be changed "
                    f"({failure})",
                    outcome="unknown",
                )
            for number in numbers:
                if self._class.busy.get(self._id(number)) is batch:
                    del self._class.busy[self._id(number)]
            release()
            batch.finish(error)
            if error is not None:
                parent.reset(error)

        spawn(self._parts.loop, run(), name="facet files")

    async def _remove(self, numbers: Sequence[int]) -> None:
        forgotten = [self._parts.catalog.forget_object(self._key(number)) for number in numbers]
        await asyncio.gather(*forgotten)
        for number in numbers:
            self._class.aftermaths.dealt_with(self._id(number))
            self._parts.missing.discard(self._key(number).address)
            await self._parts.cuts.keep(self._key(number).address, self._path(number))
        await self._in_thread(lambda: self._remove_now(numbers))

    def _remove_now(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            remove_files(self._path(number))
        sync_directory(self._path(0).parent)

    async def _copy(self, cut: int, source: int, target: int) -> None:
        path, key = self._path(target), self._key(target)
        copy, prepared = path.with_suffix(".copy"), path.with_suffix(".importing")
        meta = ObjectMeta(unique_key=key.unique_key, object_id=key.object_id, name=key.name)
        await self._in_thread(lambda: copy.unlink(missing_ok=True))
        address = self._key(source).address
        found = await self._parts.cuts.copy(cut, address, path=self._path(source), target=copy)
        if found is None:
            return
        try:
            await self._in_thread(lambda: prepare_import(copy, prepared, meta))
            # The file is installed after its entry, so that no other facet takes its number.
            await self._in_thread(self.index.save)
            self._parts.cuts.installed(key.address)
            await self._in_thread(lambda: install(prepared, path))
            await self._parts.catalog.add_object(key, created_ms=self._now_ms())
        finally:
            copy.unlink(missing_ok=True)
            prepared.unlink(missing_ok=True)

    def _id(self, number: int) -> str:
        root = self.root.key.object_id
        return f"{root}.{number}" if number else root

    def _key(self, number: int) -> ObjectKey:
        return ObjectKey(self._class.unique_key, self._id(number), self.index.name(number))

    def _path(self, number: int) -> Path:
        return self._class.file_of(self._id(number))

    def _now_ms(self) -> int:
        return self._parts.clock.realtime_ns() // 1_000_000

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await self._parts.loop.run_in_executor(self._parts.executor, work)

    async def _done(self, batch: Batch | None) -> None:
        """Wait for a batch, whatever its outcome."""
        if batch is not None:
            reply = Reply(loop=self._parts.loop)
            batch.when_done(lambda _: reply.resolve(None))
            await reply
