"""An outlet without gates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from dohost.clock import ManualClock, SeededEntropy
from dohost.simulators.resources import Resources
from dohost.telemetry import Event, Log


class UngatedOutlet:
    """Runs work at once, as for a caller without writes."""

    def read(self, work: Callable[[], Coroutine[object, object, object]]) -> Awaitable[object]:
        return asyncio.ensure_future(work())

    write = read

    async def drain(self) -> None:
        """Do nothing: tests await what they start."""


def make_resources(
    directory: Path, clock: ManualClock, events: list[Event] | None = None, *, seed: int = 1
) -> Resources:
    """Return simulators on a directory."""
    return Resources(
        directory,
        outlet=UngatedOutlet(),
        clock=clock,
        entropy=SeededEntropy(seed),
        log=Log([].append if events is None else events.append),
    )
