"""Which Durable Object classes a Worker has, and how each stores: migrations and `exports`.

Pure evaluation of the ordered list, as wrangler's local evaluator does it: within one entry deleted,
then renamed, then new, then new_sqlite. Moving data on disk is the host's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dohost.config.lines import KeyPath
from dohost.config.model import ClassRename, Migration, StorageFlavour
from dohost.config.sections import Placed
from dohost.config.shape import Findings

Classes = dict[str, StorageFlavour]
_LIVE_STATES = {None, "created", "expecting-transfer"}


def evaluate_migrations(
    placed: Placed, findings: Findings
) -> tuple[tuple[Migration, ...], Classes]:
    """Return the list as values and the classes that it leaves, noting impossible steps."""
    migrations = msgspec.convert(placed.value, tuple[Migration, ...])
    classes: Classes = {}
    tags: set[str] = set()
    for index, migration in enumerate(migrations):
        path = (*placed.path, index)
        if migration.tag in tags:
            findings.problem(path, f'the migration tag "{migration.tag}" is used twice.')
        tags.add(migration.tag)
        _Step(classes, path=path, findings=findings).apply(migration)
    return migrations, classes


class _Step:
    def __init__(self, classes: Classes, *, path: KeyPath, findings: Findings) -> None:
        self._classes = classes
        self._path = path
        self._findings = findings

    def apply(self, migration: Migration) -> None:
        for name in migration.deleted_classes:
            if self._has(name, "deleted_classes"):
                del self._classes[name]
        for rename in migration.renamed_classes:
            if self._has(rename.from_class, "renamed_classes"):
                self._classes[rename.to_class] = self._classes.pop(rename.from_class)
        self._add(migration.new_classes, "new_classes", flavour="kv")
        self._add(migration.new_sqlite_classes, "new_sqlite_classes", flavour="sqlite")
        for transfer in migration.transferred_classes:
            # The other Worker's migrations would know the flavour; new objects store in SQLite.
            self._classes.setdefault(transfer.to_class, "sqlite")

    def _has(self, name: str, kind: str) -> bool:
        if name in self._classes:
            return True
        self._findings.problem(
            (*self._path, kind), f"Cannot apply {kind} migration to non-existent class {name}"
        )
        return False

    def _add(self, names: Sequence[str], kind: str, *, flavour: StorageFlavour) -> None:
        for name in names:
            if name in self._classes:
                self._findings.problem(
                    (*self._path, kind), f"Cannot apply {kind} migration to existing class {name}"
                )
            else:
                self._classes[name] = flavour


class _Export(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    storage: str = "sqlite"
    state: str | None = None
    renamed_to: str | None = None
    transfer_from: str | None = None


def evaluate_exports(placed: Placed) -> tuple[tuple[Migration, ...], Classes]:
    """Return what `exports` says of earlier classes, and the classes that it declares live.

    The first is one migration without a tag: `exports` is a state to be reached, not a list of steps,
    so it is compared with the data at every start.
    """
    exports = {
        name: export
        for name, export in msgspec.convert(placed.value, Mapping[str, _Export]).items()
        if export.type == "durable-object"
    }
    classes: Classes = {
        name: "kv" if export.storage == "legacy-kv" else "sqlite"
        for name, export in exports.items()
        if export.state in _LIVE_STATES
    }
    migration = Migration(
        tag="",
        deleted_classes=tuple(name for name, each in exports.items() if each.state == "deleted"),
        renamed_classes=tuple(
            ClassRename(from_class=name, to_class=each.renamed_to)
            for name, each in exports.items()
            if each.state == "renamed" and each.renamed_to is not None
        ),
        transferred_classes=tuple(
            ClassRename(from_class=name, to_class=name, from_script=each.transfer_from)
            for name, each in exports.items()
            if each.state == "expecting-transfer" and each.transfer_from is not None
        ),
    )
    return (migration,) if migration != Migration(tag="") else (), classes


def declares_objects(placed: Placed) -> bool:
    """Say whether `exports` speaks of Durable Objects at all."""
    exports = msgspec.convert(placed.value, Mapping[str, _Export])
    return any(export.type == "durable-object" for export in exports.values())
