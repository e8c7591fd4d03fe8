"""What migrations do to the data on disk, each tag once.

`plan_migrations` decides, from the layout, the Workers' lists and which namespaces have objects, and
touches nothing. `move_deleted` does the only thing that files are touched for: the directory of a deleted
class is moved into `<persist>/backups/`, whole, by one rename. Renames and transfers are a changed
layout and nothing else. The caller then writes the layout, which also notes the tags as applied; a crash
at any point before that is healed by planning and doing the same again.

A directory that has never been migrated comes from a time when local migrations only named the storage
flavour. There a class that is live under its own name keeps its objects, whatever old steps say of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from dohost.config import Migration, WorkerConfig
from dohost.errors import UserCodeError
from dohost.runtime.layout import Layout
from dohost.storage.directories import sync_directory

BACKUPS = "backups"
_UNFIT_FOR_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a namespace go, by the migration `tag`."""

    unique_key: str
    class_name: str
    tag: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell: what a migration did to data."""

    worker: str
    tag: str
    text: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and the layout when it is done."""

    layout: Layout
    deletions: tuple[Deletion, ...] = ()
    steps: tuple[Step, ...] = ()


def plan_migrations(
    layout: Layout, workers: tuple[WorkerConfig, ...], has_objects: Callable[[str], bool]
) -> Plan:
    """Return what the Workers' migrations still have to do. Raises: UserCodeError if they can't."""
    planner = _Planner(layout, has_objects)
    for worker in workers:
        planner.take(worker)
    return Plan(
        layout=planner.layout, deletions=tuple(planner.deletions), steps=tuple(planner.steps)
    )


class _Planner:
    def __init__(self, layout: Layout, has_objects: Callable[[str], bool]) -> None:
        self.layout = layout
        self.deletions: list[Deletion] = []
        self.steps: list[Step] = []
        self._on_disk = has_objects

    def take(self, worker: WorkerConfig) -> None:
        applied = self.layout.applied.get(worker.name)
        for migration in worker.migrations:
            if migration.tag and applied is not None and migration.tag in applied:
                continue
            # Unmigrated until now: see the head of this file.
            kept = frozenset(worker.classes) if applied is None else frozenset[str]()
            self._apply(worker, migration, kept)
        tags = tuple(migration.tag for migration in worker.migrations if migration.tag)
        # Tags that have left the list stay: a list that comes back must not run again.
        self.layout = self.layout.with_applied(
            worker.name, tuple(dict.fromkeys((*(applied or ()), *tags)))
        )
        own = (item.class_name for item in worker.durable_objects if item.script_name is None)
        for class_name in dict.fromkeys((*worker.classes, *own)):
            key = self.layout.unique_key(worker.name, class_name)
            if key != worker.unique_key(class_name):
                self.layout = self.layout.with_namespace(worker.name, class_name, key)

    def _apply(self, worker: WorkerConfig, migration: Migration, kept: frozenset[str]) -> None:
        for class_name in migration.deleted_classes:
            if class_name not in kept:
                self._delete(worker, migration.tag, class_name)
        for rename in migration.renamed_classes:
            if rename.from_class not in kept:
                self._move(worker, migration.tag, (worker.name, rename.from_class), rename.to_class)
        for rename in migration.transferred_classes:
            source = (rename.from_script or worker.name, rename.from_class)
            self._move(worker, migration.tag, source, rename.to_class)

    def _delete(self, worker: WorkerConfig, tag: str, class_name: str) -> None:
        key = self.layout.unique_key(worker.name, class_name)
        # Without a tag it is looked at again and again, so only what is there is worth a step.
        if tag or self._has_objects(key):
            self.deletions.append(Deletion(unique_key=key, class_name=class_name, tag=tag))
        self.layout = self.layout.with_namespace(worker.name, class_name, None)

    def _move(self, worker: WorkerConfig, tag: str, source: tuple[str, str], to: str) -> None:
        key, present = self.layout.unique_key(*source), self.layout.unique_key(worker.name, to)
        if key == present or not self._has_objects(key):
            return
        label = source[1] if source[0] == worker.name else f"{source[0]}'s {source[1]}"
        if self._has_objects(present):
            if worker.name in self.layout.applied:
                raise UserCodeError(
                    f'Migration "{tag}" of {worker.name} makes objects of {label} objects of {to}, but '
                    f"{to} has objects of its own in {present}. Delete one of the two classes first."
                )
            text = f"objects of {label} stay in {key} and are not used: {to} has objects already"
        else:
            self.layout = self.layout.with_namespace(*source, None)
            self.layout = self.layout.with_namespace(worker.name, to, key)
            text = f"objects of {label} are objects of {to} now, with their names and ids, in {key}"
        self.steps.append(Step(worker=worker.name, tag=tag, text=text))

    def _has_objects(self, key: str) -> bool:
        return self._on_disk(key) and all(each.unique_key != key for each in self.deletions)


def objects_directory(persist: Path, unique_key: str) -> Path:
    """Return where the files of a namespace's objects are."""
    return persist / "v3" / "do" / unique_key


def has_objects(persist: Path, unique_key: str) -> bool:
    """Return whether a namespace has any object on disk."""
    return any(objects_directory(persist, unique_key).glob("*.sqlite"))


def move_deleted(persist: Path, deletion: Deletion) -> Path | None:
    """Move a deleted class's objects, which nobody has open, to the backups; return where they are now.

    Returns None if there is nothing to move, also because an earlier attempt has moved it.
    """
    source = objects_directory(persist, deletion.unique_key)
    if not source.is_dir():
        return None
    backups = persist / BACKUPS
    backups.mkdir(mode=0o700, exist_ok=True)
    name = _UNFIT_FOR_A_NAME.sub("_", f"{deletion.tag or 'deleted'}-{deletion.unique_key}")
    target, number = backups / name, 1
    while target.exists():
        number += 1
        target = backups / f"{name}-{number}"
    source.rename(target)
    for directory in (persist, backups, source.parent):
        sync_directory(directory)
    return target
