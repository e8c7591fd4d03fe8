"""What one object does if its operations come one after the other: the models of the checker.

Each is a function of a state and an operation to the states that may follow, none if the operation's result
cannot come of that state. An operation of unknown outcome has no result to compare.
"""

from __future__ import annotations

from tests.simulation.linearizability import Operation, State

# One object's state before anything happened, by model.
NOTHING_COUNTED = 0
UNSET = None
EMPTY: tuple[object, ...] = ()
NO_ALARM = (None, ())


def counter(state: State, operation: Operation) -> list[State]:
    """`increment` answers the new value, `read` the value."""
    assert isinstance(state, int)
    after = state + 1 if operation.name == "increment" else state
    return [after] if operation.is_unknown or operation.result == after else []


def register(state: State, operation: Operation) -> list[State]:
    """`write` sets the argument and answers the value before it, `read` answers the value."""
    after = operation.argument if operation.name == "write" else state
    return [after] if operation.is_unknown or operation.result == state else []  # type: ignore[list-item] # plain values


def append_list(state: State, operation: Operation) -> list[State]:
    """`append` adds the argument and answers the length, `read` answers all that was appended."""
    assert isinstance(state, tuple)
    if operation.name == "append":
        after = (*state, operation.argument)
        return [after] if operation.is_unknown or operation.result == len(after) else []
    return [state] if operation.is_unknown or tuple(operation.result) == state else []  # type: ignore[arg-type] # a sequence


def alarm(state: State, operation: Operation) -> list[State]:
    """The state is the alarm that is set, if any, and those that have run.

    `set` sets the argument, `delete` deletes, and both answer the alarm that was set before; `run` is
    the run of a handler: its argument is the alarm that it runs for, and the one that it sets itself, if
    it does. `read` answers the whole state.
    """
    assert isinstance(state, tuple)
    current, ran = state
    if operation.name == "run":
        due, new = operation.argument  # type: ignore[misc] # a pair
        return [(new, (*ran, due))] if current == due else []
    if operation.name == "read":
        return [state] if operation.is_unknown or operation.result == state else []
    after = (operation.argument if operation.name == "set" else None, ran)
    return [after] if operation.is_unknown or operation.result == current else []
