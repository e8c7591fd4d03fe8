"""The checker accepts what could have happened, and finds each kind of history that could not."""

from __future__ import annotations

import itertools
import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.linearizability import UNKNOWN, Model, Operation, State, check
from tests.simulation.sequential_models import (
    EMPTY,
    NO_ALARM,
    NOTHING_COUNTED,
    UNSET,
    alarm,
    append_list,
    counter,
    register,
)


def op(
    invoked: float, returned: float, name: str, result: object = UNKNOWN, *, argument: object = None
) -> Operation:
    return Operation(
        invoked=invoked, returned=returned, name=name, argument=argument, result=result
    )


def pair(state: State, operation: Operation) -> list[State]:
    """Two values that are only ever written together."""
    if operation.name == "write":
        return [(operation.argument, operation.argument)]
    return [state] if operation.result == state else []


def accepted(history: list[Operation], model: Model, initial: State) -> bool:
    return check(history, model, initial).is_linearizable


def test_operations_one_after_the_other_are_linearizable() -> None:
    history = [op(0, 1, "increment", 1), op(2, 3, "increment", 2), op(4, 5, "read", 2)]
    assert accepted(history, counter, NOTHING_COUNTED)


def test_concurrent_operations_may_be_in_either_order() -> None:
    history = [op(0, 9, "increment", 2), op(1, 8, "increment", 1), op(2, 3, "read", 1)]
    assert accepted(history, counter, NOTHING_COUNTED)


def test_a_lost_update_is_found() -> None:
    history = [op(0, 5, "increment", 1), op(1, 6, "increment", 1), op(7, 8, "read", 1)]
    assert not accepted(history, counter, NOTHING_COUNTED)


def test_a_stale_read_is_found() -> None:
    history = [
        op(0, 1, "write", UNSET, argument="a"),
        op(2, 3, "write", "a", argument="b"),
        op(4, 5, "read", "a"),
    ]
    assert not accepted(history, register, UNSET)


def test_a_torn_pair_is_found() -> None:
    history = [
        op(0, 1, "write", argument=1),
        op(2, 9, "write", argument=2),
        op(4, 5, "read", (2, 1)),
    ]
    assert not accepted(history, pair, (0, 0))


def test_an_operation_of_unknown_outcome_may_have_happened_or_not() -> None:
    for value in (0, 1):
        history = [op(0, 3, "increment"), op(4, 5, "read", value)]
        assert accepted(history, counter, NOTHING_COUNTED)


def test_an_unknown_operation_happens_once_at_most() -> None:
    assert not accepted([op(0, 3, "increment"), op(4, 5, "read", 2)], counter, NOTHING_COUNTED)


def test_what_a_read_after_the_crash_denied_may_not_come_back() -> None:
    history = [op(0, 3, "increment"), op(4, 5, "read", 0), op(6, 7, "read", 1)]
    assert not accepted(history, counter, NOTHING_COUNTED)


def test_what_a_read_has_shown_may_not_vanish() -> None:
    history = [op(0, 9, "increment"), op(1, 2, "read", 1), op(10, 11, "read", 0)]
    assert not accepted(history, counter, NOTHING_COUNTED)


def test_without_a_crash_an_operation_may_still_come() -> None:
    history = [op(0, inf, "increment"), op(4, 5, "read", 0), op(6, 7, "read", 1)]
    assert accepted(history, counter, NOTHING_COUNTED)


def test_a_lost_and_a_doubled_append_are_found() -> None:
    appends = [op(0, 1, "append", 1, argument="a"), op(2, 3, "append", 2, argument="b")]
    assert accepted([*appends, op(4, 5, "read", ("a", "b"))], append_list, EMPTY)
    for wrong in (("a",), ("b", "a"), ("a", "b", "b")):
        assert not accepted([*appends, op(4, 5, "read", wrong)], append_list, EMPTY)


def test_an_alarm_that_runs_for_nothing_is_found() -> None:
    deleted = [op(0, 1, "set", argument=7, result=None), op(2, 3, "delete", 7)]
    run = op(4, 9, "run", (7,), argument=(7, None))
    assert accepted([*deleted, op(4, 5, "read", (None, ()))], alarm, NO_ALARM)
    assert not accepted([*deleted, run, op(10, 11, "read", (None, (7,)))], alarm, NO_ALARM)


def test_the_verdict_shows_how_far_an_order_could_be_found() -> None:
    first, wrong = op(0, 1, "increment", 1), op(2, 3, "read", 5)
    verdict = check([first, wrong, op(6, 7, "read", 1)], counter, NOTHING_COUNTED)
    assert verdict.explained == (first,)
    assert verdict.stuck_at == (wrong,)


def brute_force(history: list[Operation], model: Model, initial: State) -> bool:
    """Try every order, and every choice of what happened."""
    unknown = [each for each in history if each.is_unknown]
    for count in range(len(unknown) + 1):
        for never in itertools.combinations(unknown, count):
            rest = [each for each in history if each not in never]
            for order in itertools.permutations(rest):
                if any(b.returned < a.invoked for a, b in itertools.combinations(order, 2)):
                    continue
                states: list[State] = [initial]
                for operation in order:
                    states = [after for state in states for after in model(state, operation)]
                if states:
                    return True
    return False


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_it_judges_as_trying_every_order_does(seed: int) -> None:
    chance = random.Random(seed)
    history = []
    for index in range(chance.randint(1, 5)):
        begin = chance.random()
        end = begin + chance.random() / 2
        is_write = chance.random() < 0.5
        history.append(
            Operation(
                invoked=begin,
                returned=end,
                name="write" if is_write else "read",
                argument=index if is_write else None,
                result=chance.choice((UNKNOWN, None, 0, 1, 2)),
            )
        )
    assert accepted(history, register, UNSET) == brute_force(history, register, UNSET)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_long_history_of_many_clients_is_judged_quickly(is_wrong: bool) -> None:
    chance = random.Random(3)
    history = []
    for value in range(1, 3001):
        begin, end = value - chance.random() * 4, value + chance.random() * 4
        history.append(op(begin, end, "increment", value))
        if chance.random() < 0.05:
            history.append(op(value - 2, value + 6, "increment"))
    if is_wrong:
        history.append(op(3020, 3021, "read", 2999))
    assert accepted(history, counter, NOTHING_COUNTED) is not is_wrong
