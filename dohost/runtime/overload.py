"""When one object has too much to do: which requests are refused, and in whose words.

Cloudflare refuses what an object can't take before it arrives there, with an error that says `overloaded`
and must not be retried at once. It publishes one number, the soft limit of 1,000 requests a second; how
long its queues may be, and how old what waits in them, it does not say: those bounds are ours.

The decision is a pure function of the clock and the queue at the object's input gate. It is asked under
`--strict` only, and costs nothing otherwise. Alarms and WebSocket messages are not refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dohost.clock import Clock
from dohost.errors import JsException
from dohost.runtime.cpu import MeteredTurn

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor

WINDOW_S = 10.0
REQUESTS_PER_WINDOW_MAX = 10_000
QUEUED_MAX = 1_000
QUEUED_S_MAX = 10.0

TOO_MANY_QUEUED = "Durable Object is overloaded. Too many requests queued."
QUEUED_TOO_LONG = "Durable Object is overloaded. Requests queued for too long."
TOO_FREQUENT = (
    "Durable Object is overloaded. Too many requests for the same object within a 10 second window."
)


def overloaded(message: str = TOO_MANY_QUEUED) -> JsException:
    """Return the error of an object that takes no more calls now; not to be retried."""
    error = JsException(message)
    error.overloaded = True
    return error


class Load:
    """How many requests one object had in the running window."""

    __slots__ = ("_began_s", "_count")

    def __init__(self) -> None:
        self._began_s = float("-inf")
        self._count = 0

    def arrive(self, now_s: float, *, queued: int, waited_s: float) -> str | None:
        """Count one request and return why it is refused, or None.

        `queued`: how many wait already; `waited_s`: for how long the first of them does.
        """
        if now_s - self._began_s >= WINDOW_S:
            self._began_s = now_s
            self._count = 0
        self._count += 1
        if self._count > REQUESTS_PER_WINDOW_MAX:
            return TOO_FREQUENT
        if queued >= QUEUED_MAX:
            return TOO_MANY_QUEUED
        if waited_s > QUEUED_S_MAX:
            return QUEUED_TOO_LONG
        return None

    def __repr__(self) -> str:
        return f"<Load {self._count} requests since {self._began_s}>"


class Loads:
    """The load of each live object of one class."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[str, Load] = {}

    def refusal(self, actor: Actor) -> JsException | None:
        """Count a request to `actor` and return the error that it gets instead, or None."""
        now_s = self._clock.monotonic()
        load = self._by_id.get(actor.key.object_id)
        if load is None:
            load = self._by_id[actor.key.object_id] = Load()
        message = load.arrive(
            now_s, queued=actor.gate.waiting(), waited_s=_longest_wait_s(actor, now_s)
        )
        return None if message is None else overloaded(message)

    def forget(self, object_id: str) -> None:
        """Forget an object whose instance has ended."""
        self._by_id.pop(object_id, None)


def _longest_wait_s(actor: Actor, now_s: float) -> float:
    # Events pass the gate in the order in which they came, so the first one waits longest.
    for waiter in actor.gate.root.waiters:
        if isinstance(waiter, MeteredTurn) and waiter.has_not_begun:
            return now_s - waiter.arrived_s
    return 0.0
