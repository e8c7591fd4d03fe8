"""Objects as a person looks for them: by class and by name or id, with their files.

Works on a data directory, with or without a host that runs on it: the files are the truth, and only
`live` (which objects are in memory) needs a host. Blocking, so that a host calls it in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from dohost.clock import SystemEntropy
from dohost.config import WorkerConfig
from dohost.errors import CallerError, JsException, Quarantined
from dohost.objects.id import IdFactory
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.layout import read_layout
from dohost.storage.facet_index import facet_files, is_facet
from dohost.storage.history import history_path
from dohost.storage.inspection import FileFacts, Table, details, facts, query
from dohost.storage.integrity import check_files
from dohost.storage.schema import ObjectMeta

_ID_LENGTH = 64
_NOT_OBJECTS = frozenset({"metadata"})


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object that has a file. `problem` is set when it, or a facet's, can't be trusted.

    `size_bytes` is that of all its files; `facets`: how many facets have stored something.
    """

    class_name: str
    object_id: str
    file: str
    size_bytes: int
    name: str | None = None
    alarm_ms: int | None = None
    is_live: bool = False
    problem: str | None = None
    facets: int = 0


class ObjectDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One object from near: how many keys, rows by table, when it last wrote, how much past it has."""

    info: ObjectInfo
    keys: int = 0
    tables: Mapping[str, int] = {}
    written_ms: int | None = None
    history_bytes: int = 0


class Inspector:
    """Finds objects of one data directory."""

    def __init__(
        self,
        persist: Path,
        workers: Iterable[WorkerConfig],
        *,
        live: Callable[[str], Collection[str]] = lambda unique_key: (),
    ) -> None:
        self._directory = persist / "v3" / "do"
        self._live = live
        self._keys: dict[str, str] = {}
        layout = read_layout(persist)
        for worker in workers:
            names = [*worker.classes, *(item.class_name for item in worker.durable_objects)]
            for name in names:
                self._keys.setdefault(name, layout.unique_key(worker.name, name))

    def objects(self, class_name: str | None = None) -> list[ObjectInfo]:
        """Return every object that has a file, or a log without one, by class and name.

        Raises: CallerError if there is no class `class_name`.
        """
        keys = self._known_keys()
        if class_name is not None:
            keys = {class_name: self._unique_key(class_name)}
        found = [
            self._info(name, unique_key, path)
            for name, unique_key in keys.items()
            for path in _object_files(self._directory / unique_key)
        ]
        return sorted(
            found, key=lambda item: (item.class_name, item.name is None, item.name, item.object_id)
        )

    def path(self, class_name: str, name_or_id: str) -> Path:
        """Return the object's file, which exists. Raises: CallerError if it doesn't."""
        unique_key = self._unique_key(class_name)
        ids = IdFactory(unique_key, SystemEntropy())
        candidates = [ids.from_name(name_or_id).toString()]
        if len(name_or_id) == _ID_LENGTH:
            with contextlib.suppress(JsException):  # a name may have 64 characters too
                candidates.insert(0, ids.from_string(name_or_id).toString())
        for object_id in candidates:
            path = self._directory / unique_key / f"{object_id}.sqlite"
            if path.is_file():
                return path
        raise CallerError(
            f"No object {class_name}/{name_or_id} has stored anything in {self._directory}."
        )

    def unique_keys(self, class_name: str | None = None) -> list[str]:
        """Return the keys of all namespaces, or of one class. Raises: CallerError."""
        return (
            [*self._known_keys().values()] if class_name is None else [self._unique_key(class_name)]
        )

    def key(self, class_name: str, name_or_id: str) -> ObjectKey:
        """Return the key of an object, which need not exist: by id where it is one, else by name."""
        unique_key = self._unique_key(class_name)
        ids = IdFactory(unique_key, SystemEntropy())
        if len(name_or_id) == _ID_LENGTH:
            with contextlib.suppress(JsException):  # a name may have 64 characters too
                return ObjectKey(unique_key, ids.from_string(name_or_id).toString())
        found = ids.from_name(name_or_id)
        return ObjectKey(unique_key, found.toString(), found.name)

    def show(self, class_name: str, name_or_id: str) -> ObjectDetails:
        """Return all that is known of one object. Raises: CallerError, Quarantined."""
        path = self.path(class_name, name_or_id)
        unique_key = self._unique_key(class_name)
        info = self._info(class_name, unique_key, path)
        if info.problem is not None:
            return ObjectDetails(info=info)
        found = details(path)
        history = history_path(path)
        return ObjectDetails(
            info=info,
            keys=found.keys,
            tables=found.tables,
            written_ms=found.written_ms,
            history_bytes=history.stat().st_size if history.exists() else 0,
        )

    def sql(self, class_name: str, name_or_id: str, sql: str) -> Table:
        """Run a read-only statement on one object. Raises: CallerError, Quarantined."""
        return query(self.path(class_name, name_or_id), sql)

    def _unique_key(self, class_name: str) -> str:
        known = self._known_keys()
        if class_name in known:
            return known[class_name]
        names = ", ".join(known) or "none"
        raise CallerError(f"There is no class {class_name}. The classes are: {names}.")

    def _known_keys(self) -> dict[str, str]:
        """Return the configured classes, and directories of others under their own names."""
        keys = dict(self._keys)
        if self._directory.is_dir():
            named = set(keys.values())
            for path in sorted(self._directory.iterdir()):
                if path.is_dir() and path.name not in named:
                    keys[path.name] = path.name
        return keys

    def _info(self, class_name: str, unique_key: str, path: Path) -> ObjectInfo:
        found = FileFacts(name=None, alarm_ms=None)
        facets: list[Path] = []
        problem = None
        try:
            check_files(path)
            owner = ObjectMeta(unique_key=unique_key, object_id=path.stem, name=None)
            found = facts(path, owner)
            facets = facet_files(path)
            for facet in facets:
                check_files(facet)
        except Quarantined as error:
            problem = str(error)
        return ObjectInfo(
            class_name=class_name,
            object_id=path.stem,
            name=found.name,
            file=str(path),
            size_bytes=sum(map(_size, (path, *facets))),
            alarm_ms=found.alarm_ms,
            is_live=path.stem in self._live(unique_key),
            problem=problem,
            facets=len(facets),
        )


def _object_files(directory: Path) -> list[Path]:
    names = {each.name.removesuffix("-wal") for each in directory.glob("*.sqlite*")}
    return [
        path
        for path in (directory / name for name in sorted(names) if name.endswith(".sqlite"))
        if path.stem not in _NOT_OBJECTS and not is_facet(path.stem)
    ]


def _size(path: Path) -> int:
    wal = path.with_name(f"{path.name}-wal")
    return sum(each.stat().st_size for each in (path, wal) if each.exists())
