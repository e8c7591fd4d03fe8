"""What is seen of one schedule: a trace, the operations, and everything that must not be.

Cells report every step of their code. A step of an instance that has a successor, an event during a
critical section, calls of one stub out of order, an alarm that is retried too early or with a wrong count:
each is a violation here. The rest is for the histories to show.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from math import inf

import msgspec

from dohost.runtime.alarms import retry_delay_s
from tests.simulation.linearizability import UNKNOWN
from tests.simulation.schedule_cell import Cell
from tests.simulation.simulated_host import SimulatedHost


class Call(msgspec.Struct):
    """One operation of one client, as long as it runs and after."""

    name: str
    part: str
    operation: str
    argument: object
    invoked: int
    returned: float = inf
    result: object = UNKNOWN
    # Known to have had no effect, so it is no part of any history.
    is_void: bool = False


class Witness:
    """Sees what happens in the processes of one world, which is `host` at the moment."""

    host: SimulatedHost

    def __init__(self) -> None:
        self.now = 0
        self.trace: list[tuple[object, ...]] = []
        self.violations: list[str] = []
        self.calls: list[Call] = []
        self.seen: Counter[str] = Counter()
        self._epochs: Counter[str] = Counter()
        self._alone: dict[str, int] = {}
        self._arrived: dict[int, int] = {}
        self._attempts: dict[tuple[str, int], tuple[set[int], float]] = {}

    def forget_process(self) -> None:
        """Expect nothing of a new process that only the memory of the last one could know."""
        self._attempts.clear()
        self._alone.clear()

    def note(self, *what: object) -> None:
        self.trace.append((self.now, *what))

    def violated(self, text: str) -> None:
        self.note("violated", text)
        self.violations.append(text)

    def began(self, cell: Cell) -> int:
        self._epochs[cell.label] += 1
        self._alone.pop(cell.label, None)
        self.note("instance", cell.label, self._epochs[cell.label])
        self.seen["instances"] += 1
        return self._epochs[cell.label]

    def step(self, cell: Cell) -> None:
        if cell.epoch != self._epochs[cell.label]:
            self.violated(f"instance {cell.epoch} of {cell.label} runs beside a newer one")
        if cell.label in self._alone:
            self.violated(f"an event ran in {cell.label} during a critical section")

    def arrived(self, cell: Cell, order: list[int]) -> None:
        stub, number = order
        if self._arrived.get(stub, 0) > number:
            self.violated(f"calls on one stub of {cell.label} arrived out of order")
        self._arrived[stub] = number

    @contextlib.contextmanager
    def alone(self, cell: Cell) -> Iterator[None]:
        self.step(cell)
        self._alone[cell.label] = cell.epoch
        try:
            yield
        finally:
            if self._alone.get(cell.label) == cell.epoch:
                del self._alone[cell.label]

    def running(self, cell: Cell, due_ms: int, attempt: int) -> None:
        self.seen["alarms run"] += 1
        self.note("alarm", cell.label, due_ms, attempt)
        allowed, earliest_s = self._attempts.get((cell.label, due_ms), ({0}, 0.0))
        # An instance that never came to run it, because the disk did not answer, counts as a run.
        if attempt not in allowed and not self.host.weather.stuck:
            self.violated(f"the alarm for {due_ms} ran as retry {attempt}, not {allowed}")
        # The wall clock has milliseconds; and what the catalog failed to note is noted again, and run.
        if self.host.loop.time() < earliest_s - 0.001 and not self.host.weather.catalog_failures:
            self.violated(f"the alarm for {due_ms} was retried too early")
        # If the host ends this run, it does not have to count; a new one for the same time may.
        self._attempts[cell.label, due_ms] = ({0, attempt, attempt + 1}, 0.0)

    def failed(self, cell: Cell, due_ms: int) -> None:
        self.seen["alarms failed"] += 1
        attempt = max(self._attempts[cell.label, due_ms][0]) - 1
        earliest_s = self.host.loop.time() + retry_delay_s(attempt, 0.0)
        if any(
            call.name == cell.label and call.part == "alarm" and call.returned == inf
            for call in self.calls
        ):
            # The index may hear of that alarm after this failure, and look at once.
            earliest_s = 0.0
        self._attempts[cell.label, due_ms] = ({attempt, attempt + 1}, earliest_s)

    def rearmed(self, cell: Cell, due_ms: int) -> None:
        allowed, _ = self._attempts.get((cell.label, due_ms), ({0}, 0.0))
        self._attempts[cell.label, due_ms] = ({0, *allowed}, 0.0)

    def ran(self, cell: Cell, ident: int, new: int | None) -> None:
        self.now += 1
        self.calls.append(
            Call(cell.label, "alarm", "run", (ident, new), self.now, returned=self.now)
        )
