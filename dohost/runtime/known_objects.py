"""Comparing the catalog with the files, once at the start.

Only names of files are read, so this costs little with a hundred thousand of them. A known object without
a file was deleted by a person or lost by a disk. A developer means the first: the loss is said once and
the object begins empty. In production (`MissingFiles.quarantine`) it answers with an error until somebody
has put its file back or removed the object.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from dohost.runtime.catalog import Catalog, ObjectKey
from dohost.telemetry import Log

LOGGED_MAX = 20


class MissingFiles(StrEnum):
    """What becomes of a known object whose file is missing."""

    start_empty = "start-empty"
    quarantine = "quarantine"


def object_ids(directory: Path) -> set[str]:
    """Return the ids of a namespace's objects that have a file; also of those with a lone log."""
    try:
        with os.scandir(directory) as entries:
            names = {entry.name for entry in entries}
    except FileNotFoundError:
        return set()
    return {name.partition(".")[0] for name in names if name.endswith((".sqlite", ".sqlite-wal"))}


def without_files(persist: Path, known: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Return the objects that are known and have neither file nor log."""
    found: dict[str, set[str]] = {}
    missing = []
    for key in known:
        ids = found.get(key.unique_key)
        if ids is None:
            ids = found[key.unique_key] = object_ids(persist / "v3" / "do" / key.unique_key)
        if key.object_id not in ids:
            missing.append(key)
    return missing


async def report_missing(
    persist: Path, policy: MissingFiles, *, catalog: Catalog, log: Log
) -> set[tuple[str, str]]:
    """Say which files are missing; return the objects that must not begin empty."""
    missing = await asyncio.to_thread(without_files, persist, await catalog.all_objects())
    for key in missing[:LOGGED_MAX]:
        label = f"{key.unique_key}/{key.name or key.object_id}"
        log.event("object.file_missing", level="warn", object=label, then=policy.value)
    if len(missing) > LOGGED_MAX:
        log.event("object.file_missing", level="warn", more=len(missing) - LOGGED_MAX)
    if policy is MissingFiles.quarantine:
        return {key.address for key in missing}
    for key in missing:
        catalog.forget_object(key)
    return set()
