"""Comparing the catalog with the files, once at the start.

Only names of files are read, so this costs little with a hundred thousand of them. A known object without
a file was deleted by a person or lost by a disk. A developer means the first: the loss is said once and
the object begins empty. In production (`MissingFiles.quarantine`) it answers with an error until somebody
has put its file back or removed the object. A catalog that knows nothing is made anew from the files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path

from dohost.errors import Quarantined
from dohost.runtime.catalog import Catalog, Found, ObjectKey
from dohost.storage.facet_index import FacetIndex, is_facet
from dohost.storage.inspection import facts
from dohost.storage.integrity import check_files
from dohost.storage.log_file import read_header
from dohost.storage.opening import is_torn
from dohost.telemetry import Log

LOGGED_MAX = 20


class MissingFiles(StrEnum):
    """What becomes of a known object whose file is missing."""

    start_empty = "start-empty"
    quarantine = "quarantine"


def object_ids(directory: Path) -> set[str]:
    """Return the ids of a namespace's objects and facets with a file, or with a lone log."""
    try:
        with os.scandir(directory) as entries:
            names = {entry.name for entry in entries}
    except FileNotFoundError:
        return set()
    return {
        name.removesuffix(suffix)
        for name in names
        for suffix in (".sqlite", ".sqlite-wal")
        if name.endswith(suffix)
    }


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
    known = await catalog.all_objects()
    if not known:
        await _make_anew(persist, catalog=catalog, log=log)
    missing = await asyncio.to_thread(without_files, persist, known)
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


async def _make_anew(persist: Path, *, catalog: Catalog, log: Log) -> None:
    """Fill a catalog that knows nothing from the files: it was deleted, or the directory is a backup."""
    read = partial(read_all, persist, 0, knew_nothing=catalog.was_there)
    found = await catalog.learn(lambda: asyncio.to_thread(read))
    if found.objects or found.forgotten:
        log.event(
            "catalog.rebuilt",
            objects=len(found.objects),
            alarms=len(found.alarms),
            forgotten=found.forgotten,
        )


def read_all(persist: Path, now_ms: int, *, knew_nothing: bool) -> Found:
    """Return what the files say; every object was made at `now_ms`.

    What is recorded counts as acknowledged, so what was never durable is not: a facet that its object's index
    does not know, and a new file that a power cut has torn. A catalog that was there and knew nothing
    (`knew_nothing`) tells the latter; without one, a log beside the file may be all that is left of much.
    """
    objects: list[tuple[ObjectKey, int]] = []
    alarms: list[tuple[ObjectKey, int]] = []
    forgotten: list[str] = []
    facets: dict[Path, int] = {}
    for path in sorted((persist / "v3" / "do").glob("*/*.sqlite")):
        if path.stem == "metadata":
            continue
        try:
            check_files(path)
            is_lost = is_torn(path) and (knew_nothing or read_header(path) is None)
            if is_lost or not _is_indexed(path, facets):
                continue
            found = facts(path)
        except Quarantined as error:
            forgotten.append(str(error))
            continue
        key = ObjectKey(path.parent.name, path.stem, found.name)
        objects.append((key, now_ms))
        if found.alarm_ms is not None:
            alarms.append((key, found.alarm_ms))
    return Found(objects=objects, alarms=alarms, forgotten=forgotten)


def _is_indexed(path: Path, facets: dict[Path, int]) -> bool:
    """Return whether a file is an object's own, or a facet's that the index knows. Raises: Quarantined.

    `facets` keeps the greatest number of each index that was read.
    """
    if not is_facet(path.stem):
        return True
    root, _, number = path.stem.partition(".")
    parent = path.with_name(f"{root}.sqlite")
    if parent not in facets:
        facets[parent] = FacetIndex(parent).last
    return number.isdecimal() and 0 < int(number) <= facets[parent]
