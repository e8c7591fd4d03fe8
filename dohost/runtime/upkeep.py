"""Work on whole objects: copying them out and in, removing them, backing all up, rebuilding the catalog.

It runs in the process that holds the data directory, which is the running server or the command line
itself; an object that lives is ended first where its files change. Copies in and removals can be repeated
when a crash has cut them off: a file appears by one rename, disappears by one, and its content changes in
one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import msgspec

from dohost.errors import CallerError, Quarantined
from dohost.runtime.backups import Backup, BackupItem
from dohost.runtime.catalog import Found, ObjectKey
from dohost.runtime.cuts import Live
from dohost.runtime.host import Host
from dohost.runtime.known_objects import read_all, without_files
from dohost.runtime.migrations import objects_directory
from dohost.storage.copies import Copied, install, prepare_import, replace_content
from dohost.storage.facet_copies import copy_index, number_of, put_in_facets
from dohost.storage.facet_index import facet_files, facet_path, is_facet
from dohost.storage.inspection import facts
from dohost.storage.integrity import check_files, is_there
from dohost.storage.removal import remove_files
from dohost.storage.schema import ObjectMeta


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuilt catalog knows; `forgotten` are files that can't be trusted, with the reason."""

    objects: int
    alarms: int
    forgotten: tuple[str, ...]


class Upkeep:
    """Works on the objects of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def file_of(self, key: ObjectKey | BackupItem) -> Path:
        """Return where the object's file is."""
        directory = objects_directory(self._host.parts.persist, key.unique_key)
        return directory / f"{key.object_id}.sqlite"

    async def export(self, key: ObjectKey, target: Path) -> Copied:
        """Copy an object's committed state to a new file, while it goes on. Raises: CallerError."""
        cut = await self._host.parts.cuts.begin(self._live)
        try:
            copied = await self._copy(cut.number, key.address, self.file_of(key), target)
        finally:
            self._host.parts.cuts.end(cut.number)
        if copied is None:
            raise CallerError(f"The object {key.name or key.object_id} has stored nothing.")
        return copied

    async def import_file(self, key: ObjectKey, source: Path, *, replaces: bool) -> None:
        """Make a database file the content of an object; of one that exists only if `replaces`.

        A replaced object keeps its history, so that this can be undone. Raises: CallerError, HostError.
        """
        parts, path = self._host.parts, self.file_of(key)
        if path.exists() and not replaces:
            raise CallerError(f"The object {key.name or key.object_id} exists already: {path}")
        prepared = path.with_suffix(".importing")
        meta = ObjectMeta(unique_key=key.unique_key, object_id=key.object_id, name=key.name)
        async with self._closed(key):
            await self._keep_for_backups(key)
            try:
                await asyncio.to_thread(_put_in, source, prepared, path=path, meta=meta)
            finally:
                prepared.unlink(missing_ok=True)
            parts.missing.discard(key.address)
            await parts.catalog.forget_object(key)
            facets = await asyncio.to_thread(put_in_facets, source, path, meta)
            for each in (meta, *facets):
                own = ObjectKey(each.unique_key, each.object_id, each.name)
                await parts.catalog.add_object(own, created_ms=self._now_ms())
            parts.alarms.found(key, (await asyncio.to_thread(facts, path)).alarm_ms)

    async def remove(self, key: ObjectKey) -> None:
        """Delete an object with its past and its alarm. Raises: CallerError if there is none.

        One whose file is gone and that is known all the same is forgotten.
        """
        catalog = self._host.parts.catalog
        async with self._closed(key):
            await self._keep_for_backups(key)
            is_removed = await asyncio.to_thread(remove_files, self.file_of(key))
            if not is_removed and not await asyncio.to_thread(catalog.knows, key):
                raise CallerError(f"The object {key.name or key.object_id} has stored nothing.")
            self._host.parts.alarms.forget_object(key)
            self._host.parts.missing.discard(key.address)
            await catalog.forget_object(key)

    async def begin_backup(self, unique_keys: Iterable[str]) -> Backup:
        """Take a cut over all objects; copy those of some namespaces from it, then end it."""
        parts = self._host.parts
        cut = await parts.cuts.begin(self._live)
        items = await asyncio.to_thread(
            lambda: [
                BackupItem(unique_key=key, object_id=path.stem)
                for key in unique_keys
                for path in sorted(objects_directory(parts.persist, key).glob("*.sqlite"))
                if path.stem != "metadata" and not is_facet(path.stem)
            ]
        )
        return Backup(number=cut.number, items=tuple(items))

    async def copy_backup(self, number: int, item: BackupItem, target: Path) -> Copied | None:
        """Copy one object as it was when the cut was taken; None if it was not there then."""
        address = (item.unique_key, item.object_id)
        return await self._copy(number, address, self.file_of(item), target)

    async def _copy(
        self, number: int, address: tuple[str, str], path: Path, target: Path
    ) -> Copied | None:
        """Copy an object of a cut with its facets, which lie beside it then."""
        cuts = self._host.parts.cuts
        copied = await cuts.copy(number, address, path=path, target=target)
        if copied is None:
            return None
        size = copied.size_bytes
        root = cuts.kept_file(number, address) or path
        files = await asyncio.to_thread(facet_files, root)
        for facet in sorted({*map(number_of, files), *cuts.kept_facets(number, address)}):
            found = await cuts.copy(
                number,
                (address[0], f"{address[1]}.{facet}"),
                path=facet_path(path, facet),
                target=facet_path(target, facet),
            )
            size += 0 if found is None else found.size_bytes
        # Last: what it names beyond the cut has no file, and is an empty facet.
        await asyncio.to_thread(copy_index, root, target)
        return Copied(file=copied.file, size_bytes=size)

    def end_backup(self, number: int) -> None:
        """Let the cut go. Idempotent."""
        self._host.parts.cuts.end(number)

    async def rebuild_catalog(self) -> Rebuilt:
        """Make the catalog anew from the files. A file that can't be trusted is said and left out."""
        parts = self._host.parts

        def read() -> Found:
            return read_all(parts.persist, self._now_ms(), knew_nothing=False)

        found = await parts.catalog.learn(lambda: asyncio.to_thread(read))
        for key, due_ms in found.alarms:
            parts.alarms.found(key, due_ms)
        return Rebuilt(
            objects=len(found.objects), alarms=len(found.alarms), forgotten=tuple(found.forgotten)
        )

    async def missing(self) -> list[str]:
        """Say which objects are known and have no file."""
        parts = self._host.parts
        known = await parts.catalog.all_objects()
        found = await asyncio.to_thread(without_files, parts.persist, known)
        return [f"{self.file_of(key)} is missing; its object is known" for key in found]

    async def _keep_for_backups(self, key: ObjectKey) -> None:
        """Keep an object with its facets for the backups that it is in."""
        cuts, path = self._host.parts.cuts, self.file_of(key)
        await cuts.keep(key.address, path)
        for each in await asyncio.to_thread(_facets_there, path):
            await cuts.keep((key.unique_key, each.stem), each)

    @asynccontextmanager
    async def _closed(self, key: ObjectKey) -> AsyncIterator[None]:
        parts = self._host.parts
        found = self._host.classes.get(key.unique_key)
        await parts.checkpointer.rest()
        try:
            async with nullcontext() if found is None else found.closed(key.object_id):
                yield
        finally:
            parts.checkpointer.go_on()

    def _live(self) -> list[Live]:
        return [
            each
            for found in self._host.classes.values()
            for actor in found.actors.values()
            for each in actor.family()
        ]

    def _now_ms(self) -> int:
        return self._host.parts.clock.realtime_ns() // 1_000_000


def _put_in(source: Path, prepared: Path, *, path: Path, meta: ObjectMeta) -> None:
    prepared.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    prepared.unlink(missing_ok=True)
    prepare_import(source, prepared, meta)
    if _is_sound(path):
        replace_content(path, prepared)
    else:
        install(prepared, path)


def _facets_there(path: Path) -> list[Path]:
    """Return the files of facets beside `path`; none if their index can't be trusted."""
    try:
        return facet_files(path)
    except Quarantined:
        return []


def _is_sound(path: Path) -> bool:
    """Return whether the object has a file that can be written; one that can't be trusted is set aside."""
    try:
        if is_there(path):
            check_files(path)
    except Quarantined:
        aside, number = path.with_suffix(".damaged"), 1
        while aside.exists():
            number += 1
            aside = path.with_suffix(f".damaged-{number}")
        aside.mkdir(mode=0o700)
        for each in sorted(path.parent.glob(f"{path.stem}.*")):
            if each.is_file() and each.suffix != ".importing":
                each.rename(aside / each.name)
    return path.exists()
