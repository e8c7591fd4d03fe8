"""One schedule: a world drawn from a seed, its lives and crashes, and everything that was noted in it.

A world is a machine on which processes live one after the other. Each but the last has clients, bad
weather and, most often, a crash; the last is calm: its alarms run without being asked, and then
everything is read. A client's operations go into histories, each part of each object its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import defaultdict
from math import inf

import msgspec

from dohost.errors import DohostError, JsException
from dohost.objects.stub import DurableObjectStub
from dohost.telemetry import Event
from tests.simulation.linearizability import UNKNOWN, Operation
from tests.simulation.schedule_cell import Cell
from tests.simulation.schedule_witness import Call, Witness
from tests.simulation.simulated_host import CALM, Machine, SimulatedHost, Weather
from tests.simulation.virtual_loop import Stalled

NAMES = ("a", "b")
WAIT_FOR_ALARMS_S = 600
NEVER = frozenset({"abort", "undone"})
BUMPED = re.compile(r"bumped to (\d+)\.")


class Crash(BaseException):
    """The process ends between two callbacks."""


class World(Witness):
    """Everything that one seed makes happen; the `env` of its cells."""

    def __init__(self, machine: Machine, chance: random.Random) -> None:
        super().__init__()
        self.machine = machine
        self._chance = chance
        self.is_calm = False
        self._stubs = 0
        self._idents = 0
        self._crash_at_step = inf
        self._crash_at_answer = inf
        self._answers = 0

    # What happens ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Live all lives."""
        now_s = 1_000.0
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            now_s = self._live(now_s)
        self.is_calm = True
        self._begin_process(CALM, now_s)
        try:
            self.host.loop.run_until_complete(self._see_what_is_left())
        except Stalled as error:
            self.violated(f"the last process stalled: {error}")
        self._end_process()

    def _live(self, now_s: float) -> float:
        chance = self._chance
        self._begin_process(self._weather(), now_s)
        how = chance.random()
        if how < 0.4:
            self._crash_at_step = chance.randint(10, 400)
        elif how < 0.8:
            self._crash_at_answer = self._answers + chance.randint(1, 25)
        try:
            self.host.loop.run_until_complete(self._be_used())
        except Crash:
            self.note("crash")
        except Stalled as error:
            self.violated(f"a process stalled: {error}")
        now_s = self.host.loop.time()
        self._end_process()
        if chance.random() < 0.7:
            self.seen["power cuts"] += 1
            self.machine.disk.cut_power()
        else:
            self.seen["kills"] += 1
            self.machine.disk.sync_all()
        return now_s

    def _weather(self) -> Weather:
        chance = self._chance
        fails = chance.random() < 0.35
        return Weather(
            disorder=chance.choice((0.0, 0.1, 0.5, 1.0)),
            slow_s=chance.choice((0.0001, 0.002, 0.05)),
            stuck=0.01 if chance.random() < 0.05 else 0.0,
            sync_failures=0.05 if fails else 0.0,
            commit_failures=0.03 if fails else 0.0,
            catalog_failures=0.1 if fails else 0.0,
            evict_after_s=chance.choice((0.0, 1.0, 5.0)),
            open_max=chance.choice((1, 1000)),
        )

    def _begin_process(self, weather: Weather, now_s: float) -> None:
        self.host = SimulatedHost(
            self.machine,
            weather,
            seed=self._chance.getrandbits(32),
            on_event=self._log,
        )
        self.host.loop.pass_time(now_s - self.host.loop.time())
        self.host.loop.before_step = self._before_step
        self.forget_process()
        self._crash_at_step = self._crash_at_answer = inf
        self.host.start(Cell, self)

    def _log(self, event: Event) -> None:
        # The directory has a name of its own in each run.
        facts = repr(sorted(event.fields.items())).replace(str(self.machine.disk.root), "")
        self.note(event.name, facts)

    def _end_process(self) -> None:
        host = self.host
        self.note("end", host.loop.steps, round(host.loop.time(), 6))
        self.seen["steps"] += host.loop.steps
        for failure in host.failures:
            self.violated(
                f"the loop heard of {failure.get('message')}: {failure.get('exception')!r}"
            )
        host.die()
        for call in self.calls:
            call.returned = min(call.returned, self.now)
        self.now += 1

    def _before_step(self) -> None:
        if self.host.loop.steps >= self._crash_at_step or self._answers >= self._crash_at_answer:
            self.host.loop.set_exception_handler(lambda _, context: None)
            raise Crash

    async def _be_used(self) -> None:
        clients = [asyncio.ensure_future(self._client()) for _ in range(self._chance.randint(2, 3))]
        trouble = asyncio.ensure_future(self._make_trouble())
        await asyncio.gather(*clients)
        trouble.cancel()

    async def _make_trouble(self) -> None:
        chance = self._chance
        for _ in range(10):
            await asyncio.sleep(chance.random() * self.host.weather.slow_s * 10)
            what = chance.random()
            if what < 0.3:
                self.seen["evictions"] += self.host.evictor.sweep(idle_since_s=inf)
            elif what < 0.4:
                actor = self.host.live(chance.choice(NAMES))
                if actor is not None:
                    self.seen["resets"] += 1
                    self.note("reset", actor.key.name)
                    actor.reset(JsException("Durable Object reset because its code was updated."))

    async def _see_what_is_left(self) -> None:
        acknowledged = {
            call.argument
            for call in self.calls
            if call.operation == "set" and call.result is not UNKNOWN
        }
        # Without being asked: all that was acknowledged. When their objects have started: all alarms.
        await self._wait_for_alarms()
        left = {name: await self._read(name, self.stub(name)) for name in NAMES}
        for name, state in left.items():
            if state is not None and state["a"] in acknowledged:
                self.violated(f"alarm {state['a']} of {name} was lost")
        if any(state is None or state["a"] is not None for state in left.values()):
            await self._wait_for_alarms()
            left = {name: await self._read(name, self.stub(name)) for name in NAMES}
        for name, state in left.items():
            if state is None:
                self.violated(f"{name} can't be read at the end")
                return
            if state["a"] is not None:
                self.violated(f"alarm {state['a']} of {name} did not run")
            for other, value in state["heard"].items():
                if left[other] is not None and value > left[other]["n"]:
                    self.violated(f"{name} heard of {value} in {other}, which is not there")

    async def _wait_for_alarms(self) -> None:
        alarms = self.host.parts.alarms
        end_s = self.host.loop.time() + WAIT_FOR_ALARMS_S
        while alarms.next_fire_ms() is not None or alarms._running:
            await asyncio.sleep(2.0)
            if self.host.loop.time() > end_s:
                self.violated("an alarm is still to run after ten minutes")
                return

    # Clients --------------------------------------------------------------------------------------

    async def _client(self) -> None:
        stubs: dict[str, tuple[DurableObjectStub, int]] = {}
        for _ in range(self._chance.randint(2, 4)):
            if self._chance.random() < 0.5:
                await self.pause()
            name = self._chance.choice(NAMES[: self._chance.choice((1, 2, 2))])
            if name not in stubs or self._chance.random() < 0.1:
                self._stubs += 1
                stubs[name] = (self.host.namespace.getByName(name), self._stubs)
            burst = [
                self._operate(name, *stubs[name]) for _ in range(self._chance.choice((1, 1, 2, 4)))
            ]
            for reply in burst:
                with contextlib.suppress(Exception):
                    await reply
                if reply.exception() is not None:
                    # A stub that saw a reset stays broken.
                    stubs.pop(name, None)

    def _operate(self, name: str, stub: DurableObjectStub, number: int) -> asyncio.Future[object]:
        chance = self._chance
        self.now += 1
        order = [number, self.now]
        kind = chance.random()
        if kind < 0.4:
            how = chance.choice(
                ("", "slow", "section", "transaction", "synced", "call", "raise")
                if chance.random() < 0.8
                else ("abort", "undone", "failing section")
            )
            call = Call(name, "counter", "increment", how, self.now, is_void=how in NEVER)
            other = NAMES[1 - NAMES.index(name)]
            return self._follow(call, stub.increment(order, how, other))
        if kind < 0.5:
            call = Call(name, "register", "write", self.now, self.now)
            return self._follow(call, stub.write(order, self.now, chance.choice(("", "slow"))))
        if kind < 0.6:
            how = chance.choice(("", "", "later"))
            call = Call(name, "list", "append", self.now, self.now)
            if how == "later":
                # It is appended when it is appended, whatever becomes of the call.
                self.calls.append(call)
                call = msgspec.structs.replace(call, is_void=True)
            return self._follow(call, stub.append(order, call.argument, how))
        if kind < 0.75:
            ident, delay_ms = self.new_alarm()
            call = Call(name, "alarm", "set", ident, self.now)
            return self._follow(call, stub.set_alarm(order, ident, delay_ms))
        if kind < 0.8:
            call = Call(name, "alarm", "delete", None, self.now)
            return self._follow(call, stub.delete_alarm(order))
        return asyncio.ensure_future(self._read(name, stub, number=number))

    def _follow(self, call: Call, reply: asyncio.Future[object]) -> asyncio.Future[object]:
        """Note when the outcome of a call comes, and what it is."""
        self.calls.append(call)
        self.note("call", call.name, call.part, call.operation, call.argument)
        if reply.done():
            self._hear(call, reply)
        else:
            reply.add_done_callback(lambda done: self._hear(call, done))
        return reply

    def _hear(self, call: Call, reply: asyncio.Future[object]) -> None:
        self.now += 1
        call.returned = self.now
        error = reply.exception()
        self.seen["answers" if error is None else "errors"] += 1
        if error is None:
            self._answers += 1
            call.result = reply.result()
        elif (bumped := BUMPED.search(str(error))) is not None:
            call.result = int(bumped[1])
        elif isinstance(error, DohostError) and call.argument != "call":
            # A call that called hears of the other object's failure, too.
            call.is_void = call.is_void or error.code in ("storage-full", "storage-failed")
        self.note(
            "answer", call.name, call.part, call.invoked, repr(call.result), type(error).__name__
        )

    async def _read(
        self, name: str, stub: DurableObjectStub, *, number: int = 0
    ) -> dict[str, object] | None:
        self.now += 1
        invoked = self.now
        try:
            value = dict(await stub.read([number, invoked]))
        except Exception as error:
            self.note("not read", name, type(error).__name__)
            return None
        self.now += 1
        self._answers += 1
        results = {
            "counter": value["n"],
            "register": value["r"],
            "list": tuple(value["l"]),
            "alarm": (value["a"], tuple(value["ran"])),
        }
        self.note("read", name, repr(results))
        self.calls += [
            Call(name, part, "read", None, invoked, self.now, result)
            for part, result in results.items()
        ]
        return value

    def histories(self) -> dict[tuple[str, str], list[Operation]]:
        """Return what happened to each part of each object."""
        found: defaultdict[tuple[str, str], list[Operation]] = defaultdict(list)
        for call in self.calls:
            if not call.is_void:
                found[call.name, call.part].append(
                    Operation(
                        invoked=call.invoked,
                        returned=call.returned,
                        name=call.operation,
                        argument=call.argument,
                        result=call.result,
                    )
                )
        return found

    # What a cell asks and says --------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return self.host.now_ms

    def chance(self, probability: float) -> bool:
        return self._chance.random() < probability

    async def pause(self) -> None:
        """Let others run, mostly for a moment."""
        await asyncio.sleep(
            self._chance.choice((0, 0, 0, self.host.weather.slow_s * self._chance.random() * 4))
        )

    def stub(self, name: str) -> DurableObjectStub:
        return self.host.namespace.getByName(name)

    def new_alarm(self) -> tuple[int, int]:
        self._idents += 1
        return self._idents, self._chance.choice((0, 1, 20, 500, 3000))
