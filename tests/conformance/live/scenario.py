"""What one object is asked to do, and what it answers.

A scenario is a list of events, an event a list of operations, an operation a JSON array whose first
member is its kind; the drivers say what each kind does. Transactions hold operations of their own, so
a scenario is a tree, and the paths of its operations name places in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tests.conformance.live.neutral import Encoded

Operation = list[Encoded]
Operations = list[Operation]
Events = list[Operations]
Path = tuple[int, ...]

NESTING = ("transaction", "sync_transaction")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One object's events; `name` is the object's."""

    name: str
    events: Events

    def renamed(self, name: str) -> Scenario:
        """Return the same events for another object, which has seen nothing yet."""
        return Scenario(name=name, events=self.events)


def size(operations: Operations) -> int:
    """Return how many operations there are, those in transactions included."""
    return len(operations) + sum(size(inner_of(each)) for each in operations)


def total(scenario: Scenario) -> int:
    """Return how many operations a scenario has."""
    return sum(map(size, scenario.events))


def inner_of(operation: Operation) -> Operations:
    """Return the operations inside a transaction, none for other kinds."""
    return operation[1] if operation[0] in NESTING else []  # type: ignore[return-value]  # by construction


def paths(operations: Operations, above: Path = ()) -> Iterator[Path]:
    """Yield the places of all operations, the last first, so that they can be removed in this order."""
    for index in reversed(range(len(operations))):
        yield from paths(inner_of(operations[index]), (*above, index))
        yield (*above, index)


def without(operations: Operations, path: Path) -> Operations:
    """Return the operations without the one at `path`."""
    index, *rest = path
    if not rest:
        return [*operations[:index], *operations[index + 1 :]]
    kind, inner, *others = operations[index]
    smaller: Operation = [kind, without(inner, tuple(rest)), *others]  # type: ignore[arg-type,list-item]  # a transaction
    return [*operations[:index], smaller, *operations[index + 1 :]]
