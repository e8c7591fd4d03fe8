"""The Durable Object of the schedules: it does everything that the core promises something about.

Its parts (a counter with a twin, a register, a list, an alarm) have histories of their own. It looks about
itself at every step of its code: that no newer instance of it lives, that nobody disturbs a critical section,
that twins are equal, that an alarm is due. What it sees that must not be, it reports to its `World`.
"""

from __future__ import annotations

from typing import Protocol

from workers import DurableObject

RETRIES_BY_CHOICE = 3


class Boom(Exception):
    """What the program raises on purpose."""


class World(Protocol):
    """What a cell asks of the simulation, which is its `env`."""

    now_ms: int
    is_calm: bool

    def chance(self, probability: float) -> bool: ...
    async def pause(self) -> None: ...
    def stub(self, name: str): ...  # type: ignore[no-untyped-def] # calls any method

    def began(self, cell: Cell) -> int: ...
    def step(self, cell: Cell) -> None: ...
    def arrived(self, cell: Cell, order: list[int]) -> None: ...
    def alone(self, cell: Cell): ...  # type: ignore[no-untyped-def] # a context manager
    def violated(self, text: str) -> None: ...
    def new_alarm(self) -> tuple[int, int]: ...
    def running(self, cell: Cell, due_ms: int, attempt: int) -> None: ...
    def rearmed(self, cell: Cell, due_ms: int) -> None: ...
    def ran(self, cell: Cell, ident: int, new: int | None) -> None: ...
    def failed(self, cell: Cell, due_ms: int) -> None: ...


class Cell(DurableObject):
    """One object; `how` says in which way an operation goes about its work."""

    env: World

    def __init__(self, ctx, env: World) -> None:  # type: ignore[no-untyped-def] # as every object's
        super().__init__(ctx, env)
        self.label: str = ctx.id.name
        self.epoch = env.began(self)
        self.is_ready = True
        self.is_in_alarm = False
        if env.chance(0.3):
            self.is_ready = False
            ctx.blockConcurrencyWhile(self._open)

    async def _open(self) -> None:
        with self.env.alone(self):
            await self.env.pause()
        self.is_ready = True

    def _enter(self, order: list[int] | None = None) -> None:
        self.env.step(self)
        if not self.is_ready:
            self.env.violated(
                f"an event ran in {self.label} before its constructor's section ended"
            )
        if order is not None:
            self.env.arrived(self, order)

    async def _pause(self) -> None:
        await self.env.pause()
        self.env.step(self)

    # The counter and its twin -----------------------------------------------------------------

    async def increment(self, order: list[int], how: str, other: str) -> int:
        self._enter(order)
        storage = self.ctx.storage
        if how == "section":
            return await self.ctx.blockConcurrencyWhile(self._bump_alone)
        if how == "transaction":
            return await storage.transaction(lambda txn: self._bump_in_turns(txn, fails=False))
        if how == "undone":
            return await storage.transaction(lambda txn: self._bump_in_turns(txn, fails=True))
        value = await self._bump(storage)
        if how == "slow":
            await self._pause()
        if how == "synced":
            await storage.sync()
        if how == "call":
            await self.env.stub(other).hear(self.label, value)
            self.env.step(self)
        if how == "raise":
            raise Boom(f"bumped to {value}.")
        if how == "abort":
            self.ctx.abort("the program wants it")
        if how == "failing section":
            await self.ctx.blockConcurrencyWhile(self._fail)
        return value

    async def _bump(self, storage) -> int:  # type: ignore[no-untyped-def] # ctx.storage or txn
        value = (await storage.get("n") or 0) + 1
        await storage.put("n", value)
        await storage.put("twin", value)
        return value

    async def _bump_alone(self) -> int:
        with self.env.alone(self):
            value = (await self.ctx.storage.get("n") or 0) + 1
            await self.env.pause()
            await self.ctx.storage.put({"n": value, "twin": value})
            await self.env.pause()
        return value

    async def _bump_in_turns(self, txn, *, fails: bool) -> int:  # type: ignore[no-untyped-def] # as above
        with self.env.alone(self):
            value = (await txn.get("n") or 0) + 1
            await txn.put("n", value)
            await self.env.pause()
            await txn.put("twin", value)
            await self.env.pause()
            if fails:
                raise Boom("undone")
        return value

    async def _fail(self) -> None:
        await self.env.pause()
        raise Boom("the section failed")

    async def hear(self, name: str, value: int) -> None:
        self._enter()
        heard = await self.ctx.storage.get(f"heard-{name}") or 0
        await self.ctx.storage.put(f"heard-{name}", max(heard, value))

    # The register and the list ------------------------------------------------------------------

    async def write(self, order: list[int], value: int, how: str) -> int | None:
        self._enter(order)
        before = await self.ctx.storage.get("r")
        await self.ctx.storage.put("r", value)
        if how == "slow":
            await self._pause()
        return before

    async def append(self, order: list[int], value: int, how: str) -> int:
        self._enter(order)
        if how == "later":
            self.ctx.waitUntil(self._append_later(value))
            return 0
        return await self._append(value)

    async def _append_later(self, value: int) -> None:
        await self._pause()
        await self._append(value)

    async def _append(self, value: int) -> int:
        values = await self.ctx.storage.get("l") or []
        await self.ctx.storage.put("l", [*values, value])
        return len(values) + 1

    # The alarm ----------------------------------------------------------------------------------

    async def set_alarm(self, order: list[int], ident: int, delay_ms: int) -> int | None:
        self._enter(order)
        return await self._set_alarm(ident, delay_ms)

    async def _set_alarm(self, ident: int, delay_ms: int) -> int | None:
        due_ms = self.env.now_ms + delay_ms
        before = await self.ctx.storage.get("a")
        await self.ctx.storage.setAlarm(due_ms)
        self.env.rearmed(self, due_ms)
        await self.ctx.storage.put("a", [ident, due_ms])
        return before and before[0]

    async def delete_alarm(self, order: list[int]) -> int | None:
        self._enter(order)
        before = await self.ctx.storage.get("a")
        await self.ctx.storage.deleteAlarm()
        await self.ctx.storage.delete("a")
        return before and before[0]

    async def alarm(self, info) -> None:  # type: ignore[no-untyped-def] # the runtime's
        self._enter()
        env, storage = self.env, self.ctx.storage
        found = await storage.get("a")
        if found is None:
            env.violated(f"the alarm of {self.label} ran, and none was set")
            return
        ident, due_ms = found
        if env.now_ms < due_ms or info.scheduledTime != due_ms:
            env.violated(f"alarm {ident} for {due_ms} ran at {env.now_ms} as {info}")
        if await storage.getAlarm() is not None:
            env.violated(f"alarm {ident} is still set while it runs")
        env.running(self, due_ms, info.retryCount)
        self.is_in_alarm = True
        try:
            await self._run_alarm(ident, may_fail=info.retryCount < RETRIES_BY_CHOICE)
        finally:
            self.is_in_alarm = False

    async def _run_alarm(self, ident: int, *, may_fail: bool) -> None:
        env, storage = self.env, self.ctx.storage
        if env.chance(0.4):
            await self._pause()
        found = await storage.get("a")
        if found is None or found[0] != ident:
            # Deleted or set anew while this ran: that wins.
            return
        if may_fail and not env.is_calm and env.chance(0.3):
            env.failed(self, found[1])
            raise Boom("the alarm failed")
        new, delay_ms = env.new_alarm() if not env.is_calm and env.chance(0.3) else (None, 0)
        env.ran(self, ident, new)
        await storage.put("ran", [*(await storage.get("ran") or []), ident])
        if new is None:
            await storage.delete("a")
            return
        await self._set_alarm(new, delay_ms)
        if env.chance(0.3):
            await self._pause()
        if env.chance(0.3):
            raise Boom("the alarm failed after it had set a new one")

    # Reading ------------------------------------------------------------------------------------

    async def read(self, order: list[int]) -> dict[str, object]:
        self._enter(order)
        storage = self.ctx.storage
        n, twin = await storage.get("n"), await storage.get("twin")
        if n != twin:
            self.env.violated(f"{self.label} is torn: {n} and {twin}")
        found, due_ms = await storage.get("a"), await storage.getAlarm()
        if due_ms != (None if found is None else found[1]) and not (
            self.is_in_alarm and due_ms is None
        ):
            self.env.violated(
                f"the alarm of {self.label} is at {due_ms}, and it was set to {found}"
            )
        heard = await storage.list(prefix="heard-")
        return {
            "n": n or 0,
            "r": await storage.get("r"),
            "l": await storage.get("l") or [],
            "a": found and found[0],
            "ran": await storage.get("ran") or [],
            "heard": {key.removeprefix("heard-"): value for key, value in heard.items()},
        }
