"""The host: built from its parts, it loads workers, answers requests and ends. (Long: it wires all parts.)

`start` takes the data directory and brings alarms back; `load` runs new code beside the old and swaps
only if nothing is wrong with it, so the last good code always serves; `drain` finishes what was begun,
closes every file and gives the directory free. Outbound HTTP comes in as a `Fetcher`; no server is known.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
from workers import Request, Response
from workers.context import Fetcher, current_env
from workers.socket_end import Close

from dohost.clock import Clock, Entropy, SystemClock, SystemEntropy
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.errors import HostError, JsException, ShuttingDown, UserCodeError
from dohost.histogram import Histogram
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime.alarm_runs import AlarmRuns
from dohost.runtime.alarms import AlarmScheduler
from dohost.runtime.bindings import build_env
from dohost.runtime.catalog import Catalog, open_catalog
from dohost.runtime.checkpoints import AT_A_TIME_MAX, Checkpointer
from dohost.runtime.class_table import ClassTable
from dohost.runtime.consumers import consumer_problems, consumers_of
from dohost.runtime.cpu import CpuMeter
from dohost.runtime.cuts import Cuts
from dohost.runtime.descriptors import objects_allowed
from dohost.runtime.eviction import Evictor
from dohost.runtime.facets import Facets
from dohost.runtime.faults import Faults
from dohost.runtime.front import AssetsFront, Sites, read_sites
from dohost.runtime.known_objects import MissingFiles, report_missing
from dohost.runtime.layout import read_layout, write_layout
from dohost.runtime.lock import DataDirLock, LockInfo
from dohost.runtime.migrations import Plan, has_objects, move_deleted, plan_migrations
from dohost.runtime.outgoing import GatedFetcher, GatedOutlet
from dohost.runtime.parts import Parts
from dohost.runtime.registry import ObjectClass
from dohost.runtime.schedules import Schedules
from dohost.runtime.services import exports_of
from dohost.runtime.tasks import make_task, spawn
from dohost.runtime.turns import Nesting
from dohost.runtime.worker import Generation
from dohost.simulators.resources import Resources
from dohost.storage.commit import SYNC_THREADS_MAX, Committer
from dohost.storage.database import DatabaseOptions
from dohost.storage.history import DEFAULT_LIMITS, HistoryLimits
from dohost.telemetry import Log, stderr_log

if TYPE_CHECKING:
    from dohost.simulators.assets import Site

STOPPING = Close(code=1001, reason="server is stopping")


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a host runs: where its data is, and the limits and sources that tests replace.

    `evict_after_s`: how long an idle object stays in memory (None: until the host ends).
    `open_objects_max`: how many live objects may be open before the longest idle ones are evicted; fewer
    if the process may not open so many files.
    `replaced_modules`: modules that Worker code gets instead of the process's own.
    """

    persist: Path
    is_strict: bool = False
    evict_after_s: float | None = 10.0
    open_objects_max: int = 2000
    reload_grace_s: float = 1.0
    history: HistoryLimits = DEFAULT_LIMITS
    fires_alarms: bool = True
    missing_files: MissingFiles = MissingFiles.start_empty
    clock: Clock = SystemClock()
    entropy: Entropy = SystemEntropy()
    log: Log = msgspec.field(default_factory=stderr_log)
    faults: Faults | None = None
    replaced_modules: Mapping[str, ModuleType] = {}


class LoadFailed(UserCodeError):
    """New code can't be used; the old code goes on. `problems` says why, one entry each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Host:
    """Runs workers and their Durable Objects in one process."""

    def __init__(self, options: HostOptions, *, outbound: Fetcher | None = None) -> None:
        self.options = options
        self._outbound = outbound
        self._fetcher: Fetcher | None = None
        self._lock = DataDirLock(options.persist)
        self._executor = ThreadPoolExecutor(SYNC_THREADS_MAX, thread_name_prefix="dohost")
        # Threads of their own, because each keeps the memory of its largest copy.
        self._copiers = ThreadPoolExecutor(AT_A_TIME_MAX, thread_name_prefix="dohost-copy")
        self._nesting = Nesting()
        self._table = ClassTable()
        self._generations: dict[str, Generation] = {}
        self._primary: Generation | None = None
        self._failure: Exception = ShuttingDown("no code has been loaded yet")
        self._retired: list[Generation] = []
        self._background: set[asyncio.Future[object]] = set()
        self._parts: Parts | None = None
        self._catalog: Catalog | None = None
        # How late the loop was, as a watchdog sees it; how often code was loaded, and how often not.
        self.lag = Histogram()
        self.loads = 0
        self.loads_failed = 0

    # Life -----------------------------------------------------------------------------------

    async def start(self, info: LockInfo) -> None:
        """Take the data directory (raises `DataDirLocked` at once if another process has it)."""
        options = self.options
        # First of all: a directory of a newer format is not even locked.
        self._table.layout = read_layout(options.persist)
        if not self._lock.acquire(info):
            await asyncio.to_thread(os.sync)  # What a crashed process left may not be on the disk.
        log = options.log.limited(options.clock.monotonic)
        loop = asyncio.get_running_loop()
        loop.set_task_factory(make_task)  # type: ignore[arg-type] # a Turn is a task by protocol
        catalog = self._catalog = await open_catalog(options.persist / "catalog.sqlite", loop)
        alarms = AlarmScheduler(
            loop, catalog, clock=options.clock, entropy=options.entropy, log=log
        )
        checkpointer = Checkpointer(loop, self._copiers, log)
        self._evictor = Evictor(
            loop,
            self._table.by_key,
            clock=options.clock,
            evict_after_s=options.evict_after_s,
            open_max=min(options.open_objects_max, objects_allowed()),
        )
        self._parts = Parts(
            loop=loop,
            nesting=self._nesting,
            committer=Committer(loop, self._executor, options.clock),
            checkpointer=checkpointer,
            evictor=self._evictor,
            cuts=Cuts(loop, checkpointer, options.persist / "cuts"),
            facets=Facets.of_root,
            catalog=catalog,
            alarms=alarms,
            executor=self._executor,
            clock=options.clock,
            entropy=options.entropy,
            log=log,
            persist=options.persist,
            files=DatabaseOptions(
                is_strict=options.is_strict, clock=options.clock, history=options.history
            ),
            meter=CpuMeter(options.clock.thread_cpu),
            faults=options.faults,
            missing=await report_missing(
                options.persist, options.missing_files, catalog=catalog, log=options.log
            ),
        )
        if self._outbound is not None:
            self._fetcher = GatedFetcher(self._outbound, loop)
        self.resources = Resources(
            options.persist,
            outlet=GatedOutlet(loop),
            clock=options.clock,
            entropy=options.entropy,
            log=log,
        )
        self.schedules = Schedules(options.clock, log)

    def describe(self, info: LockInfo) -> None:
        """Tell other processes how this one is reached."""
        self._lock.describe(info)

    async def load(self, workers: tuple[WorkerConfig, ...]) -> None:
        """Run the code and settings of `workers`, the primary first; raises `LoadFailed` and changes nothing."""
        try:
            await self._load(workers)
        except LoadFailed:
            self.loads_failed += 1
            raise
        self.loads += 1

    async def _load(self, workers: tuple[WorkerConfig, ...]) -> None:
        before = self._table.layout
        try:
            plan, sites = await asyncio.to_thread(self._plan, workers)
            self._table.layout = plan.layout
            generations = self._load_generations(workers, sites)
        except LoadFailed as failure:
            self._table.layout = before
            self._failure = failure
            raise
        if plan.layout != before:
            try:
                await self._migrate(plan)
            except OSError as error:
                # Nothing has been noted as done: the next load does it again.
                self._table.layout = before
                _unload(generations)
                raise LoadFailed((f"A migration could not be carried out: {error}",)) from error
        old = self._generations
        self._generations = {generation.config.name: generation for generation in generations}
        is_first = self._primary is None
        self._primary = generations[0]
        for generation in generations:
            self._table.swap(generation, self.parts, grace_s=self.options.reload_grace_s)
        # Code that is still finishing may look its modules up by name; the one before it is done.
        _unload(self._retired)
        self._retired = list(old.values())
        if is_first and self.options.fires_alarms:
            parts = self.parts
            known = await parts.catalog.alarms()
            parts.alarms.start(AlarmRuns(self._table.by_key, parts), known)
        self.resources.queues.consume(consumers_of(generations))
        self.schedules.load(generations)

    async def drain(self, *, grace_s: float) -> None:
        """Finish what was begun, for at most `grace_s`; then close everything. Idempotent."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        self._evictor.stop()
        self.hang_up()
        parts.alarms.start_no_more()
        await asyncio.gather(self.schedules.stop(grace_s), self.resources.queues.stop(grace_s))
        await self._wait_for_turns(grace_s)
        for task in tuple(self._background):
            task.cancel()
        for object_class in self.classes.values():
            for actor in tuple(object_class.actors.values()):
                if not actor.evict_if_idle():
                    actor.reset(JsException("The server stopped while this call was running."))
            object_class.settle()
        await parts.alarms.stop()
        await self.resources.close()
        _unload([*self._retired, *self._generations.values()])
        parts.loop.set_task_factory(None)
        await parts.catalog.__aexit__(None, None, None)
        self._copiers.shutdown()
        self._executor.shutdown()
        self._lock.release()

    def hang_up(self) -> None:
        """Close every hibernatable socket, as a server that is about to stop does; wakes nobody."""
        for object_class in self.classes.values():
            object_class.hang_up_all(STOPPING)

    @property
    def parts(self) -> Parts:
        """What every object shares; raises `ShuttingDown` outside start … drain."""
        if self._parts is None:
            raise ShuttingDown("the host is not running")
        return self._parts

    @property
    def classes(self) -> Mapping[str, ObjectClass]:
        """The namespaces of this host, by unique key."""
        return self._table.by_key

    def object_class(self, worker: str, class_name: str) -> ObjectClass | None:
        """Return the class of that name, if it has objects here."""
        return self._table.known(worker, class_name)

    @property
    def generations(self) -> Mapping[str, Generation]:
        """The loaded workers, by name."""
        return self._generations

    @property
    def is_working(self) -> bool:
        """Whether threads work for this host now: syncs, checkpoints, the catalog, simulators."""
        parts = self.parts
        return (
            parts.committer.is_syncing
            or parts.catalog.is_writing
            or parts.checkpointer.is_running
            or self.resources.is_busy
        )

    async def _wait_for_turns(self, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while loop.time() < deadline:
            busy = any(
                not actor.is_idle
                for found in self.classes.values()
                for actor in found.actors.values()
            )
            if not busy and not self._background:
                return
            await asyncio.sleep(0.005)

    # Requests -------------------------------------------------------------------------------

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Send a request to the primary worker's Default entrypoint; raises what user code raised."""
        primary = self._primary
        if primary is None:
            raise self._failure
        if current_env.get() is not primary.env:
            primary.enter()
        return primary.front(request)

    async def refresh_assets(self) -> None:
        """Read the static assets again; what was read stays if that fails, with a line in the log."""
        loaded = tuple(generation.config for generation in self._generations.values())
        log = self.options.log
        try:
            sites = await asyncio.to_thread(read_sites, loaded, self.options.persist, log)
        except UserCodeError as error:
            log.event("assets.not_read", level="error", error=str(error))
            return
        for name, site in sites.items():
            assets = self._generations[name].assets
            assert assets is not None, "its configuration names a directory"
            assets.site = site

    def new_context(self) -> contextvars.Context:
        """Return a context for a request; one in which the primary worker's bindings are current."""
        primary = self._primary
        return contextvars.Context() if primary is None else primary.context.copy()

    def compresses_sockets(self) -> bool:
        """Tell whether WebSockets of the primary worker may be compressed, by its compatibility flags."""
        return self._primary is not None and self._primary.compresses_sockets

    def keep(self, awaitable: Awaitable[object]) -> None:
        """Let background work of a stateless event run to its end."""
        future = asyncio.ensure_future(awaitable)
        self._background.add(future)
        future.add_done_callback(self._kept)

    def _kept(self, future: asyncio.Future[object]) -> None:
        self._background.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self.options.log.event(
                "worker.background_failed", level="error", error=repr(future.exception())
            )

    # Loading --------------------------------------------------------------------------------

    def _plan(self, workers: tuple[WorkerConfig, ...]) -> tuple[Plan, Sites]:
        persist = self.options.persist
        try:
            sites = read_sites(workers, persist, self.options.log)
            return plan_migrations(
                self._table.layout, workers, lambda unique_key: has_objects(persist, unique_key)
            ), sites
        except UserCodeError as error:
            raise LoadFailed((str(error),)) from error

    async def _migrate(self, plan: Plan) -> None:
        """Do what migrations say, in an order that a crash at any point lets be repeated."""
        parts, log = self.parts, self.options.log
        for deletion in plan.deletions:
            found = self._table.by_key.pop(deletion.unique_key, None)
            if found is not None:
                await found.close(HostError(f"The class {deletion.class_name} was deleted."))
            moved = await asyncio.to_thread(move_deleted, parts.persist, deletion)
            parts.alarms.forget_namespace(deletion.unique_key)
            await parts.catalog.forget_namespace(deletion.unique_key)
            if moved is not None:
                text = f"the objects of {deletion.class_name} were deleted; a backup is in {moved}"
                log.event("migration.applied", tag=deletion.tag, did=text)
        await asyncio.to_thread(write_layout, parts.persist, plan.layout)
        for step in plan.steps:
            log.event("migration.applied", worker=step.worker, tag=step.tag, did=step.text)

    def _load_generations(
        self, workers: tuple[WorkerConfig, ...], sites: Sites
    ) -> list[Generation]:
        generations: list[Generation] = []
        problems: list[str] = []
        try:
            # Lazily, so that the ones that did load can be unloaded when a later one fails.
            replaced = self.options.replaced_modules
            generations.extend(Generation(config, replaced=replaced) for config in workers)
            self._table.ensure(generations, self.parts)
            problems += consumer_problems(generations)
            for generation in generations:
                problems += self._prepare(generation, sites.get(generation.config.name))
        except UserCodeError as error:
            _unload(generations)
            failure = LoadFailed((str(error),))
            failure.__cause__ = error.__cause__ or error
            raise failure from failure.__cause__
        if problems:
            _unload(generations)
            raise LoadFailed(tuple(problems))
        return generations

    def _prepare(self, generation: Generation, site: Site | None) -> list[str]:
        config, missing = generation.config, generation.missing_classes()
        if missing:
            return [
                "Your Worker depends on the following Durable Objects, which are not exported in your "
                f"entrypoint file: {', '.join(missing)}. You should export these objects from your "
                f"entrypoint, {config.main_name}.{generation.hint_for(missing)}"
            ]
        assets = None if site is None else self.resources.assets(site)
        env = build_env(
            config, self, clock=self.options.clock, resources=self.resources, assets=assets
        )
        if assets is not None:
            generation.assets = assets
            generation.front = AssetsFront(assets, config, generation.fetch).fetch
        known = partial(self._table.known, config.name)
        generation.bind(env, exports_of(generation, known), self._fetcher, self.keep)
        return generation.check()

    # Bindings (the directory behind `env`) ----------------------------------------------------

    def namespace(
        self, binding: DurableObjectBinding, own: WorkerConfig
    ) -> DurableObjectNamespace | None:
        """Return the namespace that `binding` means, or None if its worker is not in this process."""
        return self._table.namespace(binding, own)

    def worker(self, name: str) -> Generation | None:
        """Return the running code of a worker, or None if it is not in this process."""
        return self._generations.get(name)

    def spawn(self, make: Callable[[], Awaitable[object]], *, name: str) -> asyncio.Task[object]:
        """Run host work in a plain task with a clean context."""

        async def run() -> object:
            return await make()

        return spawn(self.parts.loop, run(), name=name)


def _unload(generations: list[Generation]) -> None:
    for generation in generations:
        generation.code.unload()
