"""Comparing two sides' answers, operation by operation.

A difference is the first place at which a scenario's answers differ in a way that the table of known
differences does not name. What follows a known difference that changes state can't be compared, so
the scenario ends there; how often that happens is counted, because it would hide others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from tests.conformance.live.differences import KNOWN, Known
from tests.conformance.live.neutral import Encoded, comparable, is_error
from tests.conformance.live.scenario import NESTING, Operation, Operations, Scenario, inner_of


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that was answered differently."""

    operation: Operation
    theirs: Encoded
    ours: Encoded

    def __str__(self) -> str:
        texts = (json.dumps(each) for each in (self.operation, self.theirs, self.ours))
        return "\n".join(
            f"  {name:9}{text[:2000]}"
            for name, text in zip(("operation", "workerd", "dohost"), texts, strict=True)
        )


class Tally:
    """How much was compared, and how often each known difference was met."""

    def __init__(self) -> None:
        self.scenarios = 0
        self.operations = 0
        self.errors = 0
        self.known: Counter[str] = Counter()
        self.ended_early = 0
        self.crashed: list[str] = []


def difference(
    scenario: Scenario, theirs: list[Encoded], ours: list[Encoded], *, tally: Tally
) -> Difference | None:
    """Return the first difference that is not known, or None."""
    tally.scenarios += 1
    for operation, their, our in _pairs(scenario, theirs, ours):
        tally.operations += 1
        tally.errors += is_error(their)
        if comparable(their) == comparable(our):
            continue
        found = Difference(operation=operation, theirs=their, ours=our)
        known = known_as(found)
        if known is None:
            return found
        tally.known[known.name] += 1
        if known.changes_state:
            tally.ended_early += 1
            return None
    return None


def known_as(found: Difference) -> Known | None:
    """Return the known difference that this one is, if any."""
    for known in KNOWN:
        if known.matches(found.operation, found.theirs, found.ours):
            return known
    return None


def _pairs(
    scenario: Scenario, theirs: list[Encoded], ours: list[Encoded]
) -> Iterator[tuple[Operation, Encoded, Encoded]]:
    for operations, their, our in zip(scenario.events, theirs, ours, strict=True):
        if isinstance(their, list) and isinstance(our, list):
            yield from _inner_pairs(operations, their, our)
        else:
            # At least one side failed as a whole: its caller got an error.
            yield ["event", operations], their, our  # type: ignore[list-item]  # operations are JSON


def _inner_pairs(
    operations: Operations, theirs: list[Encoded], ours: list[Encoded]
) -> Iterator[tuple[Operation, Encoded, Encoded]]:
    for operation, their, our in zip_longest(operations, theirs, ours):
        if operation[0] in NESTING and isinstance(their, list) and isinstance(our, list):
            (their_inner, their_outcome), (our_inner, our_outcome) = their, our
            outcome = [operation[0], "…", operation[2]], their_outcome, our_outcome
            if len(their_inner) != len(our_inner):  # type: ignore[arg-type]  # the driver's form
                # One side did not get through: why it failed comes first.
                yield outcome
            yield from _inner_pairs(inner_of(operation), their_inner, our_inner)  # type: ignore[arg-type]  # as above
            yield outcome
        else:
            yield operation, their, our
