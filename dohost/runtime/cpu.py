"""Processor time: how much of it an object's events may use, and what happens beyond that.

Each step of a turn is charged to the account of its object. A step inside another one (an eager call)
pauses the charging of the outer. An event that comes in fills the account of its object again, as on
Cloudflare, so a limit is on the work that one event causes, however many steps that takes. An object
that used more than its limit is reset at the end of the step; nothing of that step leaves it. Ending a
step that never ends by itself is the business of `interrupts`.

Objects without a limit have no account, and their turns pay nothing; what they do inside a call from an
object with one is charged to that one. Decisions are functions of the injected clock's processor time.

Invariant: the meter's `running` is one immutable value, so another thread reads a consistent one.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import NamedTuple, Protocol

from workers.entrypoint import DurableObjectAbort

from dohost.errors import JsException
from dohost.runtime.turns import Sink, Turn, TurnOwner
from dohost.storage.failures import CPU_EXCEEDED

CPU_S_DEFAULT = 30.0


class MeteredOwner(TurnOwner, Protocol):
    """An object whose processor time is limited."""

    cpu: CpuAccount | None
    now_s: Callable[[], float]

    def reset(self, error: BaseException) -> None:
        """Drop the instance; every call in flight gets `error`."""
        ...


class Charge(NamedTuple):
    """What is charged now: `began_s` is when it would have begun if all that it used were one step."""

    owner: MeteredOwner
    began_s: float
    limit_s: float

    def is_over(self, cpu_s: float) -> bool:
        """Whether the object has used more than its limit when the thread has used `cpu_s`."""
        return cpu_s - self.began_s > self.limit_s


class CpuMeter:
    """Whose step the loop's thread runs, and since when on its processor clock."""

    __slots__ = ("_paused", "cpu_s", "running")

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        self.cpu_s = cpu_s
        self.running: Charge | None = None
        # Who was charged before, and when that was paused.
        self._paused: list[tuple[Charge | None, float]] = []

    def account(self, limit_s: float | None) -> CpuAccount | None:
        """Return what a new instance is charged on, or None if its processor time is not limited."""
        return None if limit_s is None else CpuAccount(self, limit_s)

    def is_over(self) -> bool:
        """Whether the object whose step runs has used more than its limit."""
        running = self.running
        return running is not None and running.is_over(self.cpu_s())

    def end_overlong(self) -> None:
        """Reset the object whose step runs if it is over its limit, and leave its code; see `abort()`."""
        if self.running is not None and self.is_over():
            self.running.owner.reset(cpu_exceeded())
            raise DurableObjectAbort(CPU_EXCEEDED)

    def begin(self, owner: MeteredOwner, account: CpuAccount) -> None:
        """Charge `account` from now on; what was charged until now is paused."""
        now_s = self.cpu_s()
        self._paused.append((self.running, now_s))
        self.running = Charge(owner, now_s - account.used_s, account.limit_s)

    def end(self, account: CpuAccount) -> None:
        """Write what was used to `account`, and go on with what was paused."""
        now_s = self.cpu_s()
        assert self.running is not None, "what ends has begun"
        account.used_s = now_s - self.running.began_s
        outer, paused_s = self._paused.pop()
        self.running = (
            None if outer is None else outer._replace(began_s=outer.began_s + now_s - paused_s)
        )


class CpuAccount:
    """What the current event of one object has used, and how much it may."""

    __slots__ = ("limit_s", "meter", "used_s")

    def __init__(self, meter: CpuMeter, limit_s: float) -> None:
        self.meter = meter
        self.limit_s = limit_s
        self.used_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether more was used than allowed."""
        return self.used_s > self.limit_s

    def __repr__(self) -> str:
        return f"<CpuAccount {self.used_s:.3f} of {self.limit_s} s used>"


class MeteredTurn(Turn):
    """A turn of an object whose processor time is limited."""

    __slots__ = ("_is_charging", "arrived_s")

    owner: MeteredOwner

    def __init__(
        self,
        owner: MeteredOwner,
        entry: Callable[[], object] | None,
        sink: Sink | None,
        context: contextvars.Context,
    ) -> None:
        super().__init__(owner, entry, sink, context)
        # However it came: a callback begins by another way than a call, and may wait in the same queue.
        self.arrived_s = owner.now_s()
        self._is_charging = False

    @property
    def has_not_begun(self) -> bool:
        """Whether this is an event that has not taken its first step."""
        return self._entry is not None

    def _step(self, error: BaseException | None) -> None:
        owner = self.owner
        account = owner.cpu
        assert account is not None, "turns without one are not metered"
        if self._entry is not None and self.scope is owner.gate.root:
            account.used_s = 0.0
        account.meter.begin(owner, account)
        self._is_charging = True
        try:
            super()._step(error)
        finally:
            self._stop_charging()

    def _end(self, value: object, error: BaseException | None) -> None:
        self._stop_charging()
        super()._end(value, error)

    def _suspend(self, waits_for: object) -> None:
        self._stop_charging()
        if not self._is_killed:
            super()._suspend(waits_for)

    def _stop_charging(self) -> None:
        """Write down what the step used, before its outcome goes anywhere; reset who used too much."""
        account = self.owner.cpu
        if not self._is_charging or account is None:
            return
        self._is_charging = False
        account.meter.end(account)
        if account.is_over:
            self.owner.reset(cpu_exceeded())


def cpu_limit_s(configured_ms: int | None, *, is_strict: bool) -> float | None:
    """Return how much an event may use: what the configuration says, else production's in strict mode."""
    if configured_ms is not None:
        return configured_ms / 1000
    return CPU_S_DEFAULT if is_strict else None


def cpu_exceeded() -> JsException:
    """Return the error of an object that used too much processor time."""
    return JsException(CPU_EXCEEDED)
