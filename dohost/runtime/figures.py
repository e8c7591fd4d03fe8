"""What a host has done and holds now, read when somebody asks; nothing here is counted a second time.

Labels are names of workers and classes, never of objects: a page of metrics has to stay small whatever a
program does, and to tell nobody who its users are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import msgspec

from dohost.errors import StorageFailure
from dohost.histogram import Histogram
from dohost.runtime.alarms import AlarmEnd
from dohost.runtime.catalog import Catalog
from dohost.runtime.host import Host
from dohost.runtime.registry import ObjectClass
from dohost.storage.log_room import FRAME_BYTES

# A scraper waits for ten seconds, by default.
_CATALOG_MAX_S = 2.0


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of one class.

    `known` have a file (None: that can't be read now), `live` are in memory; hibernatable sockets are awake or
    asleep with their object. All these are without facets; `calls`, `evictions` and `resets` count them, too.
    """

    worker: str
    class_name: str
    known: int | None
    live: int
    calls: int
    evictions: int
    resets: Mapping[str, int]
    sockets_awake: int
    sockets_asleep: int


class HostFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The host at one moment; all that is no state is counted since it began.

    `alarm_ends`: runs of handlers by how they ended. `log_bytes`: of what is in the logs of live objects and
    has not been copied into their files.
    """

    classes: tuple[ClassFigures, ...]
    facets_live: int
    commits: int
    syncs_failed: int
    sync_times: Histogram
    checkpoints: int
    checkpoints_failed: int
    log_bytes: int
    alarms: int
    alarms_running: int
    alarm_ends: Mapping[AlarmEnd, int]
    alarm_retries: int
    alarms_given_up: int
    loop_lag: Histogram
    loads: int
    loads_failed: int


async def read_figures(host: Host) -> HostFigures:
    """Return the figures of a running host. Raises: ShuttingDown."""
    known = await _known(host.parts.catalog)
    parts = host.parts
    alarms, committer, checkpointer = parts.alarms, parts.committer, parts.checkpointer
    return HostFigures(
        classes=tuple(
            _class_figures(worker, each, None if known is None else known.get(each.unique_key, 0))
            for worker, each in _loaded_classes(host)
        ),
        facets_live=parts.evictor.facets,
        commits=committer.commits,
        syncs_failed=committer.syncs_failed,
        sync_times=committer.sync_times,
        checkpoints=checkpointer.checkpoints,
        checkpoints_failed=checkpointer.failures,
        log_bytes=_log_bytes(host),
        alarms=alarms.known,
        alarms_running=alarms.running,
        alarm_ends=alarms.ends,
        alarm_retries=alarms.retries,
        alarms_given_up=alarms.given_up,
        loop_lag=host.lag,
        loads=host.loads,
        loads_failed=host.loads_failed,
    )


async def _known(catalog: Catalog) -> Mapping[str, int] | None:
    """Return how many objects each namespace has; None if the disk doesn't say, when the rest matters most."""
    try:
        async with asyncio.timeout(_CATALOG_MAX_S):
            return await asyncio.to_thread(catalog.object_counts)
    except (StorageFailure, TimeoutError):
        return None


def _loaded_classes(host: Host) -> Iterator[tuple[str, ObjectClass]]:
    for worker, generation in host.generations.items():
        for class_name in generation.object_classes():
            found = host.object_class(worker, class_name)
            if found is not None:
                yield worker, found


def _class_figures(worker: str, found: ObjectClass, known: int | None) -> ClassFigures:
    awake, asleep = _sockets(found)
    counts = found.counts
    return ClassFigures(
        worker=worker,
        class_name=found.class_name,
        known=known,
        live=len(found.actors),
        calls=counts.calls,
        evictions=counts.evictions,
        resets=counts.resets,
        sockets_awake=awake,
        sockets_asleep=asleep,
    )


def _sockets(found: ObjectClass) -> tuple[int, int]:
    """Return how many hibernatable sockets objects in memory have, and how many the others."""
    awake = asleep = 0
    for object_id, hibernation in found.hibernations.items():
        if object_id in found.actors:
            awake += hibernation.open_sockets
        else:
            asleep += hibernation.open_sockets
    return awake, asleep


def _log_bytes(host: Host) -> int:
    pages = sum(
        each.database.wal_pages
        for found in host.classes.values()
        for actor in found.actors.values()
        for each in actor.family()
    )
    return pages * FRAME_BYTES
