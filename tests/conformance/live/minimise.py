"""Shrinking a scenario that shows a difference, by leaving operations out.

Every round tries all scenarios with one piece less, many to a request; the smallest that still differs goes
on. First whole events, then halves of events, then single operations, also inside transactions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from tests.conformance.live.scenario import Events, Scenario, paths, total, without

Differ = Callable[[Sequence[Scenario]], Awaitable[list[bool]]]
BATCH = 40


async def minimise(scenario: Scenario, differ: Differ) -> Scenario:
    """Return the smallest scenario found for which `differ` still says yes."""
    best = scenario
    attempt = 0
    is_shrinking = True
    while is_shrinking:
        is_shrinking = False
        for candidates in _batches(smaller(best.events)):
            tried = []
            for events in candidates:
                attempt += 1
                tried.append(Scenario(name=f"{scenario.name}-{attempt}", events=events))
            verdicts = await differ(tried)
            differing = [each for each, differs in zip(tried, verdicts, strict=True) if differs]
            if differing:
                best = min(differing, key=total)
                is_shrinking = True
                break
    return best


def smaller(events: Events) -> Iterator[Events]:
    """Yield the events with one piece less, the largest pieces first."""
    for index in range(len(events)):
        if len(events) > 1:
            yield [*events[:index], *events[index + 1 :]]
    for index, operations in enumerate(events):
        half = len(operations) // 2
        if half > 1:
            yield [*events[:index], operations[:half], *events[index + 1 :]]
            yield [*events[:index], operations[half:], *events[index + 1 :]]
    for index, operations in enumerate(events):
        for path in paths(operations):
            yield [*events[:index], without(operations, path), *events[index + 1 :]]


def _batches(items: Iterator[Events]) -> Iterator[list[Events]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
