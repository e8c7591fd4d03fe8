"""Ending idle instances: after a while, and sooner when too many are open.

Only memory is lost. An instance with a turn in flight, background work, a held stream or unsynced
writes is never evicted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dohost.runtime.actor import Actor
from dohost.runtime.registry import ObjectClass

SWEEP_S = 1.0


class Evictor:
    """Looks once a second for instances that have been idle long enough."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        classes: Mapping[str, ObjectClass],
        evict_after_s: float | None,
        open_max: int,
    ) -> None:
        self._loop = loop
        self._classes = classes
        self._evict_after_s = evict_after_s
        self._open_max = open_max
        self._timer = loop.call_later(SWEEP_S, self._tick)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def sweep(self, *, idle_since_s: float) -> int:
        """Evict every idle instance that was last active at or before `idle_since_s`; return how many."""
        actors = [
            actor
            for object_class in self._classes.values()
            for actor in object_class.actors.values()
            if actor.last_active_s <= idle_since_s
        ]
        return sum(actor.evict_if_idle() for actor in actors)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SWEEP_S, self._tick)
        if self._evict_after_s is not None:
            self.sweep(idle_since_s=self._loop.time() - self._evict_after_s)
        self._evict_surplus()

    def _evict_surplus(self) -> None:
        live: list[Actor] = [
            actor for found in self._classes.values() for actor in found.actors.values()
        ]
        surplus = len(live) - self._open_max
        if surplus <= 0:
            return
        live.sort(key=lambda actor: actor.last_active_s)
        for actor in live:
            if surplus <= 0:
                return
            surplus -= actor.evict_if_idle()
