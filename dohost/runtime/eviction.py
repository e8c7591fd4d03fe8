"""Ending idle instances: after a while, and sooner when too many are open.

Only memory is lost: hibernatable sockets stay open without their instance. An instance with a turn in
flight, background work, a held stream, a standard socket or unsynced writes is never evicted, with one
exception: an instance that nobody has used for 70 s and that only tasks of its own keep (a timer that was
never cancelled) ends at the next look, 70 to 140 s after its last event.

The number of live instances is capped when an instance is made, in small steps between events, so that
neither descriptors nor one long pause grow with how many objects a second are touched. Facets count, and
beyond the cap the idle ones go also while their parents stay; else they go with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dohost.clock import Clock

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor
    from dohost.runtime.registry import ObjectClass

SWEEP_S = 1.0
UNUSED_SWEEP_S = 70.0
# Beyond the cap so many more are evicted at once, the idlest; ends of 50 µs each.
STEP = 32


class Evictor:
    """Looks once a second for instances that have been idle long enough, and keeps their number capped."""

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
        self._is_making_room = False
        # How many facets live; each opens as much as an object.
        self.facets = 0
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
        self._make_room()

    def sweep(self, *, idle_since_s: float) -> int:
        """Evict every idle instance that was last active at or before `idle_since_s`; return how many."""
        actors = [actor for actor in self._live() if actor.last_active_s <= idle_since_s]
        return sum(actor.evict_if_idle() for actor in actors)

    def make_room(self) -> bool:
        """Evict the idlest now, because no descriptor is left; return whether any could be."""
        return self._evict_idlest(STEP) > 0

    def started(self) -> None:
        """Note that an instance was made; soon there is room for it again."""
        if not self._is_making_room and self._count() > self._open_max:
            self._is_making_room = True
            self._loop.call_soon(self._make_room)

    def _make_room(self) -> None:
        surplus = self._count() - self._open_max
        # If all are busy, looking again before the next tick would only cost time.
        self._is_making_room = surplus > 0 and not self._evict_idlest(surplus + STEP)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SWEEP_S, self._tick)
        self.look()

    def _live(self) -> list[Actor]:
        return [actor for found in self._classes.values() for actor in found.actors.values()]

    def _count(self) -> int:
        return self.facets + sum(len(found.actors) for found in self._classes.values())

    def _evict_idlest(self, wanted: int) -> int:
        evicted = 0
        live = self._live()
        if self.facets:
            live = [each for actor in live for each in actor.family()]
        for actor in sorted(live, key=lambda actor: actor.last_active_s):
            if evicted >= wanted:
                break
            # A facet may have gone with its parent by now, and is not counted twice.
            evicted += not actor.is_evicted and actor.evict_if_idle()
        return evicted
