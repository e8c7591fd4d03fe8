"""An isolated host: what a test holds, and all that it may ask of it.

Each has a data directory, a clock, chance and faults of its own, and nothing of it is left when it ends. The
wall clock stands still until `advance`; the event loop's time runs, so that short sleeps and sockets
work, and `advance` skips it by as much. What is done is in the files beside this one: `doors`, `inside`,
`time_travel`, `faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from workers import Request, Response

from dohost.clock import ManualClock, SeededEntropy, system_sources
from dohost.errors import CallerError, JsException
from dohost.objects.id import DurableObjectId
from dohost.objects.namespace import DurableObjectNamespace
from dohost.objects.state import DurableObjectState
from dohost.objects.stub import DurableObjectStub
from dohost.runtime.actor import CODE_UPDATED, Actor
from dohost.runtime.alarm_runs import AlarmRun
from dohost.runtime.alarms import AlarmEnd
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.runtime.overload import overloaded
from dohost.runtime.registry import ObjectClass
from dohost.runtime.tasks import spawn
from dohost.storage.storage import DurableObjectStorage
from dohost.telemetry import Event, Log
from dohost.testing.doors import (
    ORIGIN,
    Internet,
    Outbound,
    request_of,
    server_for,
    socket_of,
    url_of,
)
from dohost.testing.faults import (
    FULL,
    IO_ERROR,
    Fault,
    FaultPlan,
    answer_lost,
    disconnected,
    late,
    refused,
)
from dohost.testing.inside import deliver, evict
from dohost.testing.loop_time import LoopTime, skippable_loop
from dohost.testing.settings import Program
from dohost.testing.sockets import SocketClient
from dohost.testing.storage import StorageHandle
from dohost.testing.stubs import address_of, label_of, unique_key_of
from dohost.testing.time_travel import TimeTravel
from dohost.testing.worker_time import worker_modules

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from aiohttp.test_utils import BaseTestServer

    from dohost.server.app import Server

Result = TypeVar("Result")

GRACE_S = 0.05


class IsolatedHost:
    """One host for one test; the fixture `dohost` is one of these.

    `clock`: the test's. `events`: what the host logged. `internet`: set it to a function that answers
    the requests that the program sends out.
    """

    def __init__(self, program: Program, directory: Path, loop_time: LoopTime) -> None:
        self.program = program
        self.directory = directory
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.entropy = SeededEntropy(1)
        self._log = Log(self.events.append)
        self._faults = FaultPlan()
        self._loop = asyncio.get_running_loop()
        self._loop_time = loop_time
        self._time = TimeTravel(self.clock, loop_time, lambda: self._host)
        self.internet: Internet | None = None
        self._host = self._new_host()

    def __repr__(self) -> str:
        names = ", ".join(worker.name for worker in self.program.workers)
        return f"<IsolatedHost {names}: {len(self._live())} objects live, now {self.now_ms} ms>"

    # The program ----------------------------------------------------------------------------

    @property
    def env(self) -> object:
        """The bindings of the primary worker, as its code sees them."""
        self._require_loop()
        return self._host.generations[self.program.workers[0].name].env

    def env_of(self, worker: str) -> object:
        """Return the bindings of one of several workers."""
        self._require_loop()
        return self._host.generations[worker].env

    async def fetch(self, resource: str | Request, **options: object) -> Response:
        """Send a request to the program in process; a path means `http://localhost/path`.

        What the program raises is raised here. Options are those of `workers.Request`.
        """
        self._require_loop()
        request = request_of(resource, options)

        async def send() -> object:
            return await self._host.fetch(request)

        return cast(Response, await spawn(self._loop, send(), name="test fetch"))

    async def websocket(
        self, resource: str, *, to: DurableObjectStub | None = None, headers: object = None
    ) -> SocketClient:
        """Open a WebSocket to the program, or straight to an object. Raises: CallerError if refused."""
        fields = {"Upgrade": "websocket", **cast("dict[str, str]", headers or {})}
        if to is None:
            response = await self.fetch(resource, headers=fields)
        else:
            response = await to.fetch(url_of(resource), headers=fields)
        return await socket_of(response, resource)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[ClientSession]:
        """Open a real HTTP client (aiohttp's) to the program's server, without a listening socket."""
        # Here, because most tests speak to objects and need no HTTP.
        from dohost.server.client import in_memory_session

        server = self._server()
        try:
            async with in_memory_session(server.listener(), ORIGIN) as session:
                yield session
        finally:
            await server.stop(GRACE_S)

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Serve the program on a free port of this machine, and give the URL."""
        server = self._server()
        try:
            yield await server.start()
        finally:
            await server.stop(GRACE_S)

    def server(self) -> BaseTestServer:
        """Return a server for pytest-aiohttp: `client = await aiohttp_client(dohost.server())`."""
        # As above.
        from dohost.server.client import AppServer

        return AppServer(self._server().listener())

    # Objects --------------------------------------------------------------------------------

    async def run_in_object(
        self,
        stub: DurableObjectStub,
        function: Callable[[object, DurableObjectState], Awaitable[Result] | Result],
    ) -> Result:
        """Run `function(instance, state)` as an event inside the object.

        Result and exceptions come back as they are, not copied, when what was written is durable.
        """
        actor = self._class_of(stub).actor(stub.id)

        def entry() -> object:
            return function(actor.instance, actor.state)

        return cast(Result, await deliver(actor, entry))

    def storage(self, stub: DurableObjectStub) -> StorageHandle:
        """Return the storage of the object, to seed it or to look into it."""

        def run(operate: Callable[[DurableObjectStorage], object]) -> Awaitable[object]:
            return self.run_in_object(stub, lambda instance, state: operate(state.storage))

        return StorageHandle(run, label_of(stub))

    async def run_alarm(self, stub: DurableObjectStub) -> bool:
        """Run the object's alarm now, whatever its time; return whether one was set and ran.

        What the handler raises is raised here; the alarm stays set then. Nothing is retried.
        """
        address = address_of(stub)
        if self._host.parts.alarms.is_running(address):
            raise CallerError(f"The alarm of {label_of(stub)} is running already.")
        actor = self._class_of(stub).actor(stub.id)
        run = AlarmRun(actor, 0, now_ms=None)
        await deliver(actor, run.entry)
        return run.outcome.end is AlarmEnd.done

    async def list_ids(self, namespace: DurableObjectNamespace) -> list[DurableObjectId]:
        """Return the ids of the objects of a namespace that have stored something, in order."""
        await self.settle()
        unique_key = unique_key_of(namespace)
        known = await self._host.parts.catalog.objects(unique_key)
        ids = [DurableObjectId(key.object_id, name=key.name) for key in known]
        return sorted(ids, key=str)

    async def evict(self, stub: DurableObjectStub) -> None:
        """End the object's instance gracefully, as after 10 idle seconds: only memory is lost.

        Raises: JsException if it is not running, CallerError if it does not get idle.
        """
        actor = self._class_of(stub).actors.get(str(stub.id))
        if actor is None:
            raise JsException("Cannot evict Durable Object: it is not currently running.")
        await self.settle()
        evict(actor)

    async def evict_all(self) -> int:
        """End every live instance gracefully; return how many. Raises as `evict` does."""
        await self.settle()
        live = self._live()
        for actor in live:
            evict(actor)
        return len(live)

    async def abort(self, stub: DurableObjectStub, reason: str | None = None) -> None:
        """Reset the object as its own `ctx.abort(reason)` would."""
        actor = self._class_of(stub).actor(stub.id)
        with contextlib.suppress(JsException):
            await deliver(actor, lambda: actor.state.abort(reason))

    # Time -----------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The test's wall clock, in ms since the epoch."""
        return self.clock.realtime_ns() // 1_000_000

    async def advance(self, seconds: float) -> None:
        """Move time forward: alarms fire in order and at their time, timers and idle eviction with them.

        Returns when everything that became due has run as far as it can. Timers that lie closer than
        a thousandth of `seconds` may fire together, in order.
        """
        self._require_loop()
        await self._time.advance(seconds)

    async def settle(self) -> None:
        """Let everything run that can run without time going on or help from outside."""
        await self._time.settle()

    # Faults ---------------------------------------------------------------------------------

    def fail_next_commit(
        self,
        stub: DurableObjectStub,
        *,
        times: int = 1,
        outcome: Literal["not-applied", "unknown"] = "not-applied",
    ) -> Fault:
        """Let the object's next commits fail: a full disk, or ("unknown") an I/O error."""
        message = FULL if outcome == "not-applied" else IO_ERROR
        fault = Fault(f"commit of {label_of(stub)} fails ({message})", times=times)
        return self._faults.plan_commit(address_of(stub), fault, message)

    def overload(self, stub: DurableObjectStub, *, times: int | None = 1) -> Fault:
        """Let the next calls of the object be refused as overloaded (None: all)."""
        fault = Fault(f"call of {label_of(stub)} is refused as overloaded", times=times)
        return self._faults.plan_call(address_of(stub), fault, refused(overloaded))

    def disconnect(
        self, stub: DurableObjectStub, *, times: int | None = 1, delivered: bool = False
    ) -> Fault:
        """Let the next calls of the object lose their connection, before or after they were `delivered`.

        The error is retryable; the stub that hears it stays broken, so a retry needs a new one.
        """
        effect = answer_lost(disconnected) if delivered else refused(disconnected)
        what = "answer" if delivered else "call"
        fault = Fault(f"{what} of {label_of(stub)} is lost", times=times)
        return self._faults.plan_call(address_of(stub), fault, effect)

    def delay(self, stub: DurableObjectStub, seconds: float, *, times: int | None = None) -> Fault:
        """Let calls of the object arrive late, by `seconds` that `advance` skips."""
        fault = Fault(f"call of {label_of(stub)} comes {seconds:g} s late", times=times)
        return self._faults.plan_call(address_of(stub), fault, late(seconds))

    async def reset(self, stub: DurableObjectStub) -> None:
        """Reset the object as a deployment does: memory and uncommitted writes are lost."""
        actor = self._class_of(stub).actors.get(str(stub.id))
        if actor is None:
            raise JsException("Cannot reset Durable Object: it is not currently running.")
        actor.reset(JsException(CODE_UPDATED))

    # Life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the host and load the program. Raises: LoadFailed."""
        for warning in self.program.warnings:
            self._log.event("config.warning", level="warn", message=warning)
        await self._host.start(LockInfo(pid=os.getpid()))
        await self._host.load(self.program.workers)

    async def stop(self) -> None:
        """End the host; what still runs is reset. `start` starts one on the same data."""
        await self._host.drain(grace_s=GRACE_S)
        self._host = self._new_host()

    async def restart(self) -> None:
        """Stop and start on the same data, as a server does; get stubs anew from `env` after it."""
        await self.settle()
        await self.stop()
        await self.start()

    async def reload(self) -> None:
        """Load the program's files anew, as after a save. Raises: LoadFailed; the old code goes on then."""
        await self._host.load(self.program.workers)
        await self.settle()

    def _new_host(self) -> Host:
        settings = self.program.settings
        return Host(
            HostOptions(
                persist=self.directory,
                is_strict=settings.strict,
                evict_after_s=settings.evict_after_s,
                reload_grace_s=GRACE_S,
                clock=self.clock,
                entropy=self.entropy,
                log=self._log,
                faults=self._faults,
                replaced_modules=worker_modules(self.clock) if settings.fake_time else {},
            ),
            outbound=Outbound(lambda: self.internet),
        )

    # Helpers --------------------------------------------------------------------------------

    def _server(self) -> Server:
        return server_for(self._host, clock=self.clock, log=self._log, entropy=self.entropy)

    def _live(self) -> list[Actor]:
        return [actor for found in self._host.classes.values() for actor in found.actors.values()]

    def _class_of(self, stub: DurableObjectStub) -> ObjectClass:
        self._require_loop()
        return self._host.classes[unique_key_of(stub)]

    def _require_loop(self) -> None:
        running = asyncio._get_running_loop()
        if running is None:
            raise CallerError(
                "Durable Objects live in an event loop: write the test as `async def test_…(dohost)`."
            )
        if running is not self._loop:
            raise CallerError(
                "The test runs in another event loop than its `dohost` fixture. Give both the same "
                "scope: asyncio_default_test_loop_scope and asyncio_default_fixture_loop_scope in "
                "pytest's configuration."
            )


@contextlib.asynccontextmanager
async def isolated_host(program: Program, directory: Path) -> AsyncIterator[IsolatedHost]:
    """Run `program` on data in `directory`, in the running loop, until the end of the block."""
    with skippable_loop() as loop_time:
        isolated = IsolatedHost(program, directory, loop_time)
        with system_sources(isolated.clock, isolated.entropy):
            try:
                await isolated.start()
                yield isolated
            finally:
                await isolated.stop()
