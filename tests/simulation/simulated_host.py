"""The host's core on a simulated machine: real actors, gates, turns, commits, alarms, eviction.

It is put together as `dohost.runtime.host` does, with a loop, a clock, threads, a disk and a catalog that
are a seed's. What is left out has threads or sockets of its own: loading code, HTTP, the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import sqlite3
from collections.abc import Callable

import msgspec
from workers import DurableObject

from dohost.clock import SeededEntropy
from dohost.errors import StorageFailure
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime import catalog as catalogs
from dohost.runtime.actor import Actor
from dohost.runtime.alarm_runs import AlarmRuns
from dohost.runtime.alarms import AlarmScheduler
from dohost.runtime.catalog import Catalog, Changes, ObjectKey
from dohost.runtime.checkpoints import Checkpointer
from dohost.runtime.cpu import CpuMeter
from dohost.runtime.eviction import Evictor
from dohost.runtime.facets import Facets
from dohost.runtime.parts import Code, Parts
from dohost.runtime.registry import ObjectClass
from dohost.runtime.tasks import make_task
from dohost.runtime.turns import Nesting
from dohost.storage.commit import Committer
from dohost.storage.database import DatabaseOptions
from dohost.telemetry import Event, Log
from tests.simulation.simulated_disk import SimulatedDisk, io_error
from tests.simulation.virtual_loop import VirtualClock, VirtualLoop, VirtualThreads

UNIQUE_KEY = "sim-Cell"
FULL = "database or disk is full: SQLITE_FULL"


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is like: how slow, how often it fails, and how ready callbacks are mixed."""

    disorder: float = 0.0
    slow_s: float = 0.001
    stuck: float = 0.0
    sync_failures: float = 0.0
    commit_failures: float = 0.0
    catalog_failures: float = 0.0
    evict_after_s: float = 5.0
    open_max: int = 1000


CALM = Weather()


class Machine:
    """What outlives a process: the disk, and the catalog's rows on it."""

    def __init__(self, disk: SimulatedDisk, chance: random.Random) -> None:
        self.disk = disk
        self.chance = chance
        self.rows = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for statement in catalogs.SCHEMA:
            self.rows.execute(statement)

    def delay_s(self, weather: Weather) -> float:
        """Return how long a thread, a disk or a message takes."""
        if weather.stuck and self.chance.random() < weather.stuck:
            return 45.0
        return self.chance.random() * weather.slow_s


class SimulatedHost:
    """One process: from `start` until `die`."""

    def __init__(
        self,
        machine: Machine,
        weather: Weather,
        *,
        seed: int,
        on_event: Callable[[Event], None],
    ) -> None:
        self.machine = machine
        self.weather = weather
        self.loop = loop = VirtualLoop(machine.chance, disorder=weather.disorder)
        self.failures: list[dict[str, object]] = []
        self.actors: list[Actor] = []
        loop.set_exception_handler(lambda _, context: self.failures.append(context))
        loop.set_task_factory(make_task)  # type: ignore[arg-type] # a Turn is a task by protocol
        loop.delivery_s = self._delay_s
        self._threads = threads = VirtualThreads(loop, self._delay_s)
        self.clock = clock = VirtualClock(loop)
        entropy, log = SeededEntropy(seed), Log(on_event)
        self.catalog = catalog = SimulatedCatalog(self)
        checkpointer = Checkpointer(loop, threads, log)
        self._classes: dict[str, ObjectClass] = {}
        self.evictor = Evictor(
            loop,
            self._classes,
            clock=clock,
            evict_after_s=weather.evict_after_s,
            open_max=weather.open_max,
        )
        self.parts = Parts(
            loop=loop,
            nesting=Nesting(),
            committer=Committer(loop, threads, clock),
            checkpointer=checkpointer,
            evictor=self.evictor,
            cuts=self,  # type: ignore[arg-type] # only `started` is called
            catalog=catalog,
            alarms=AlarmScheduler(loop, catalog, clock=clock, entropy=entropy, log=log),
            executor=threads,
            clock=clock,
            entropy=entropy,
            log=log,
            persist=machine.disk.root,
            files=DatabaseOptions(clock=clock),
            meter=CpuMeter(clock.thread_cpu),
            facets=Facets.of_root,
            faults=self,  # type: ignore[arg-type] # as above: both methods are there
        )
        self.objects = ObjectClass(self.parts, UNIQUE_KEY, "Cell", is_sql_enabled=True)
        machine.disk.before_sync = self._before_sync

    def start(self, cls: type[DurableObject], env: object) -> None:
        """Load the class and bring the alarms back."""
        code = Code(cls=cls, env=env, exports=None, context=contextvars.Context())
        self.objects.load(code)
        self._classes[UNIQUE_KEY] = self.objects
        self.parts.alarms.start(AlarmRuns(self._classes, self.parts), self.catalog.indexed())

    @property
    def namespace(self) -> DurableObjectNamespace:
        """The binding of the one class."""
        return self.objects.namespace

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return self.clock.realtime_ns() // 1_000_000

    def live(self, name: str) -> Actor | None:
        """Return an object's live instance, if there is one."""
        return self.objects.actors.get(self.namespace.idFromName(name).toString())

    def die(self) -> None:
        """End as a killed process does: no code runs any more, files close as they are."""
        self.loop.set_exception_handler(lambda _, context: None)
        for task in asyncio.all_tasks(self.loop):
            with contextlib.suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr] # a coroutine
            if isinstance(task, asyncio.Task):
                task._log_destroy_pending = False  # type: ignore[attr-defined] # it is, and pending
        for actor in self.actors:
            actor.database.close()
        self.loop.close()

    # What the parts call ----------------------------------------------------------------------

    def started(self, actor: Actor) -> None:
        """Note an instance that was made."""
        self.actors.append(actor)

    def between(self, unique_key: str, objects: ObjectClass) -> ObjectClass:
        """Stand between stubs and objects: as they are."""
        return objects

    def before_commit(self, key: ObjectKey) -> None:
        """Fail a commit now and then."""
        if self.weather.commit_failures and self._chance(self.weather.commit_failures):
            if self._chance(0.5):
                raise StorageFailure(FULL, outcome="not-applied", is_full=True)
            raise StorageFailure("disk I/O error: SQLITE_IOERR", outcome="unknown")

    def _before_sync(self) -> None:
        if not self._threads.is_inside:
            # Inline syncs stay rare on a disk that is slow: the committer measures.
            self.loop.pass_time(self._delay_s() / 10)
        if self.weather.sync_failures and self._chance(self.weather.sync_failures):
            raise io_error()

    def _delay_s(self) -> float:
        return self.machine.delay_s(self.weather)

    def _chance(self, probability: float) -> bool:
        return self.machine.chance.random() < probability


class SimulatedCatalog(Catalog):
    """The catalog with its groups and its order, on rows in memory instead of a thread and a file."""

    def __init__(self, host: SimulatedHost) -> None:
        super().__init__(host.machine.disk.root / "catalog.sqlite", host.loop)
        self._host = host
        self._rows = host.machine.rows

    def indexed(self) -> list[tuple[ObjectKey, int]]:
        """Return every indexed alarm."""
        rows = self._rows.execute("SELECT unique_key, object_id, name, due_ms FROM alarms")
        return sorted(
            ((ObjectKey(*row[:3]), row[3]) for row in rows), key=lambda each: each[0].address
        )

    def knows(self, key: ObjectKey) -> bool:
        return self._rows.execute(catalogs.KNOWS_OBJECT, key.address).fetchone() is not None

    async def _transact(self, changes: Changes) -> None:
        host = self._host
        await asyncio.sleep(host._delay_s())
        fails = (
            host._chance(host.weather.catalog_failures) if host.weather.catalog_failures else False
        )
        if fails and host._chance(0.5):
            raise io_error()
        self._rows.execute("BEGIN")
        for sql, rows in changes.statements():
            self._rows.executemany(sql, rows)
        self._rows.execute("COMMIT")
        await asyncio.sleep(host._delay_s())
        if fails:
            raise io_error()


@contextlib.contextmanager
def machine_in(root, chance: random.Random):  # type: ignore[no-untyped-def] # a context of a Machine
    """Give a machine whose disk is below `root`."""
    disk = SimulatedDisk(root, f"v3/do/{UNIQUE_KEY}", chance)
    machine = Machine(disk, chance)
    with disk.installed():
        yield machine
    machine.rows.close()
