"""The comparison as a whole: generate, ask both sides, compare, shrink what differs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tests.conformance.live.compare import Difference, Tally, difference
from tests.conformance.live.generate import scenario
from tests.conformance.live.minimise import minimise
from tests.conformance.live.scenario import Scenario
from tests.conformance.live.sides import Side

BATCH = 50
# A difference that takes either side a time-out would be shrunk for hours.
SHRINKING_MAX_S = 60.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A difference with the smallest scenario that shows it."""

    number: int
    smallest: Scenario
    difference: Difference

    def __str__(self) -> str:
        events = "\n".join(
            f"  event {index}\n" + "\n".join(f"    {json.dumps(each)}" for each in event)
            for index, event in enumerate(self.smallest.events, start=1)
        )
        return f"scenario {self.number}\n{events}\n{self.difference}"


class Comparison:
    """Two sides and what was found between them."""

    def __init__(self, theirs: Side, ours: Side) -> None:
        self._theirs = theirs
        self._ours = ours
        self.tally = Tally()
        self.findings: list[Finding] = []
        self.elapsed_s = 0.0

    async def run(
        self, seed: int, numbers: range, *, findings_max: int, tell: Callable[[str], None]
    ) -> None:
        """Compare the scenarios of a seed, until there are `findings_max` differences."""
        started = time.monotonic()
        for batch in _batches(numbers):
            scenarios = [scenario(seed, number) for number in batch]
            found = await self._differences(scenarios, self.tally)
            for number, each, what in zip(batch, scenarios, found, strict=True):
                if what is not None and len(self.findings) < findings_max:
                    self.findings.append(await self._shrunk(number, each, what))
                    tell(str(self.findings[-1]))
            self.elapsed_s = time.monotonic() - started
            if len(self.findings) >= findings_max:
                return

    async def _differences(
        self, scenarios: Sequence[Scenario], tally: Tally
    ) -> list[Difference | None]:
        theirs, ours = await asyncio.gather(
            self._theirs.perform(scenarios), self._ours.perform(scenarios)
        )
        found = []
        for each, their, our in zip(scenarios, theirs, ours, strict=True):
            if their is None or our is None:
                tally.crashed.append(each.name)
                found.append(None)
            else:
                found.append(difference(each, their, our, tally=tally))
        return found

    async def _shrunk(self, number: int, each: Scenario, what: Difference) -> Finding:
        started = time.monotonic()

        async def differ(candidates: Sequence[Scenario]) -> list[bool]:
            found = await self._differences(candidates, Tally())
            if time.monotonic() - started > SHRINKING_MAX_S:
                return [False] * len(candidates)
            return [one is not None and _is_like(one, what) for one in found]

        smallest = await minimise(each, differ)
        (again,) = await self._differences([smallest.renamed(f"{smallest.name}-last")], Tally())
        return Finding(number=number, smallest=smallest, difference=again or what)


def _is_like(one: Difference, other: Difference) -> bool:
    """Whether two differences are of the same kind of operation; shrinking must not wander off."""
    return one.operation[0] == other.operation[0]


def _batches(numbers: range) -> Iterator[range]:
    for first in range(0, len(numbers), BATCH):
        yield numbers[first : first + BATCH]
