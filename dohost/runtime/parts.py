"""What objects are made of: the parts that all of a host share, and one generation of a class's code."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dohost.clock import Clock, Entropy
from dohost.objects.rpc import Method
from dohost.runtime.alarms import AlarmScheduler
from dohost.runtime.catalog import Catalog
from dohost.runtime.checkpoints import Checkpointer
from dohost.runtime.cpu import CpuMeter
from dohost.runtime.cuts import Cuts
from dohost.runtime.eviction import Evictor
from dohost.runtime.faults import Faults
from dohost.runtime.turns import Nesting
from dohost.storage.commit import Committer
from dohost.storage.database import DatabaseOptions
from dohost.telemetry import Log

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor
    from dohost.runtime.facets import Facets


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every object of a host shares."""

    loop: asyncio.AbstractEventLoop
    nesting: Nesting
    committer: Committer
    checkpointer: Checkpointer
    evictor: Evictor
    catalog: Catalog
    alarms: AlarmScheduler
    executor: Executor
    clock: Clock
    entropy: Entropy
    log: Log
    persist: Path
    files: DatabaseOptions
    meter: CpuMeter
    faults: Faults | None = None
    cuts: Cuts
    facets: Callable[[Actor], Facets]
    missing: set[tuple[str, str]] = msgspec.field(default_factory=set)


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a class: the class itself, and what its instances are given."""

    cls: type
    env: object
    exports: object
    context: contextvars.Context
    delete_all_deletes_alarm: bool = True
    switching: Callable[[Method], Method] | None = None
    replies_to_close: bool = True
    cpu_limit_s: float | None = None
