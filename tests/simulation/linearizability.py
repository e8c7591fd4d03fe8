"""Whether a history of concurrent operations on one object is linearizable.

Each operation takes effect at one moment between its invocation and its return (Herlihy and Wing). An
operation of *unknown* outcome, which a crash or an error cut short, takes effect at one moment until
then, or never. The search is Wing and Gong's with Lowe's memory: go on with any operation that no
other one precedes, and never look twice at the same set of done operations with the same state.
Objects are checked one by one, because linearizability is local. Histories are long and thin, so the set
is kept as the first operation that is not done and a few bits for those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from math import inf

import msgspec


class Unknown:
    """The result of an operation whose outcome nobody was told."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()
State = Hashable
# From a state and an operation to the states that may follow; none if its result can't come of it.
Model = Callable[[State, "Operation"], Iterable[State]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: when it was invoked, when its outcome (or the crash) came, and what was heard."""

    invoked: float
    returned: float = inf
    name: str
    argument: object = None
    result: object = UNKNOWN

    @property
    def is_unknown(self) -> bool:
        """Whether it may have had its effect or not."""
        return self.result is UNKNOWN


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an order exists; if not, the longest prefix that had one and what nothing explains."""

    is_linearizable: bool
    explained: tuple[Operation, ...] = ()
    stuck_at: tuple[Operation, ...] = ()


class _Search:
    """A point of the search: what is done (all before `first`, and the bits from there), and the state."""

    __slots__ = ("bits", "choices", "first", "state", "taken")

    def __init__(self, first: int, bits: int, state: State, taken: int | None) -> None:
        self.first = first
        self.bits = bits
        self.state = state
        self.taken = taken
        self.choices: list[tuple[int, State]] | None = None


def check(history: Iterable[Operation], model: Model, initial: State) -> Verdict:
    """Look for an order of `history` that `model` allows from `initial` on."""
    operations = sorted(history, key=lambda each: each.invoked)
    count = len(operations)
    path = [_Search(0, 0, initial, None)]
    seen: set[tuple[int, int, State]] = set()
    longest: list[_Search] = path[:]
    while path:
        here = path[-1]
        if here.first == count:
            return Verdict(is_linearizable=True)
        if here.choices is None:
            here.choices = _choices(operations, here, model)
        if not here.choices:
            path.pop()
            continue
        index, state = here.choices.pop()
        first, bits = here.first, here.bits | 1 << (index - here.first)
        while bits & 1:
            first, bits = first + 1, bits >> 1
        if (first, bits, state) in seen:
            continue
        seen.add((first, bits, state))
        path.append(_Search(first, bits, state, index))
        if len(path) > len(longest):
            longest = path[:]
    end = longest[-1]
    return Verdict(
        is_linearizable=False,
        explained=tuple(operations[each.taken] for each in longest if each.taken is not None),
        stuck_at=tuple(operations[index] for index in _possible(operations, end)),
    )


def _possible(operations: list[Operation], here: _Search) -> list[int]:
    """Return the operations that may be next: those that no other open one precedes."""
    found: list[int] = []
    earliest_return = inf
    for index in range(here.first, len(operations)):
        if here.bits >> (index - here.first) & 1:
            continue
        operation = operations[index]
        # They are sorted, so none after this one can be next either.
        if operation.invoked > earliest_return:
            break
        found.append(index)
        earliest_return = min(earliest_return, operation.returned)
    return found


def _choices(operations: list[Operation], here: _Search, model: Model) -> list[tuple[int, State]]:
    """Return what can be done next and the state after it; the last one is tried first."""
    found: list[tuple[int, State]] = []
    for index in reversed(_possible(operations, here)):
        operation = operations[index]
        if operation.is_unknown:
            # It may go by without any effect; that it had one is tried before that.
            found.append((index, here.state))
        found += [(index, state) for state in model(here.state, operation)]
    return found
