"""Ending idle instances: after a while, and sooner when too many are open.

Only memory is lost: hibernatable sockets stay open without their instance. An instance with a turn in
flight, background work, a held stream, a standard socket or unsynced writes is never evicted, with one
exception: an instance that nobody has used for 70 s and that only tasks of its own keep (a timer that was
never cancelled) ends at the next look, 70 to 140 s after its last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dohost.clock import Clock
from dohost.runtime.actor import Actor
from dohost.runtime.registry import ObjectClass

SWEEP_S = 1.0
UNUSED_SWEEP_S = 70.0


class Evictor:
    """Looks once a second for instances that have been idle long enough."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        classes: Mapping[str, ObjectClass],
        *,
        clock: Clock,
        evict_after_s: float | None,
        open_max: int,
    ) -> None:
        self._loop = loop
        self._classes = classes
        self._clock = clock
        self._evict_after_s = evict_after_s
        self._open_max = open_max
        self._unused_sweep_s = clock.monotonic() + UNUSED_SWEEP_S
        self._timer = loop.call_later(SWEEP_S, self._tick)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def look(self) -> None:
        """Evict what has been idle long enough by now."""
        now_s = self._clock.monotonic()
        if self._evict_after_s is not None:
            self.sweep(idle_since_s=now_s - self._evict_after_s)
            if now_s >= self._unused_sweep_s:
                self._unused_sweep_s = now_s + UNUSED_SWEEP_S
                for actor in self._live():
                    actor.evict_if_unused()
        self._evict_surplus()

    def sweep(self, *, idle_since_s: float) -> int:
        """Evict every idle instance that was last active at or before `idle_since_s`; return how many."""
        actors = [actor for actor in self._live() if actor.last_active_s <= idle_since_s]
        return sum(actor.evict_if_idle() for actor in actors)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SWEEP_S, self._tick)
        self.look()

    def _live(self) -> list[Actor]:
        return [actor for found in self._classes.values() for actor in found.actors.values()]

    def _evict_surplus(self) -> None:
        live = self._live()
        surplus = len(live) - self._open_max
        if surplus <= 0:
            return
        live.sort(key=lambda actor: actor.last_active_s)
        for actor in live:
            if surplus <= 0:
                return
            surplus -= actor.evict_if_idle()
