"""State machines beside ten-line models: SQL and transactions, gates, alarms.

What is under test and
its model do the same steps in an order that Hypothesis chooses, and have to agree after each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dohost.gates import InputGate, Scope
from tests.storage.storage_bench import StorageBench

keys = st.integers(0, 4)


class StorageMachine(RuleBasedStateMachine):
    """A storage on a file of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.bench = StorageBench(Path(self._directory.name))

    def teardown(self) -> None:
        self.bench.database.close()
        self._directory.cleanup()


class SqlMachine(StorageMachine):
    """A table against a dict: turns keep what was written, crashes and failed transactions don't."""

    def __init__(self) -> None:
        super().__init__()
        self.bench.sql("CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER NOT NULL)")
        self.model: dict[int, int] = {}
        self.end_turn()

    @rule(key=keys, value=st.integers(0, 9))
    def write(self, key: int, value: int) -> None:
        self.bench.sql("INSERT OR REPLACE INTO t VALUES (?, ?)", key, value)
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: int) -> None:
        self.bench.sql("DELETE FROM t WHERE k = ?", key)
        self.model.pop(key, None)

    @rule(by=st.integers(1, 3))
    def add_to_all(self, by: int) -> None:
        self.bench.sql("UPDATE t SET v = v + ?", by)
        self.model = {key: value + by for key, value in self.model.items()}

    @rule(key=keys, fails=st.booleans(), inner_fails=st.booleans())
    def nest_transactions(self, key: int, fails: bool, inner_fails: bool) -> None:
        before = dict(self.model)

        def inner() -> None:
            self.write(key, 100)
            if inner_fails:
                raise KeyError(key)

        def outer() -> None:
            self.add_to_all(1)
            between = dict(self.model)
            if inner_fails:
                with pytest.raises(KeyError):
                    self.bench.storage.transactionSync(inner)
                self.model = between
            else:
                self.bench.storage.transactionSync(inner)
            if fails:
                raise ValueError("undo")

        if fails:
            with pytest.raises(ValueError, match="undo"):
                self.bench.storage.transactionSync(outer)
            self.model = before
        else:
            self.bench.storage.transactionSync(outer)

    @rule()
    def end_turn(self) -> None:
        self.bench.end_turn()
        self.saved = dict(self.model)

    @rule()
    def crash(self) -> None:
        self.bench.reopen()
        self.model = dict(self.saved)

    @invariant()
    def agrees(self) -> None:
        rows = self.bench.sql("SELECT k, v FROM t")
        assert {row["k"]: row["v"] for row in rows} == self.model


class AlarmMachine(StorageMachine):
    """One object's alarm against three values: when, whether its handler runs, whether it was set anew."""

    def __init__(self) -> None:
        super().__init__()
        self.due: int | None = None
        self.saved: int | None = None
        self.told: int | None = None
        self.is_running = self.is_rearmed = False

    @rule(delay=st.integers(0, 3))
    def set(self, delay: int) -> None:
        self.due = self.bench.now_ms + delay
        self.bench.storage.setAlarm(self.due)
        self.is_rearmed = self.is_running

    @rule()
    def delete(self) -> None:
        self.bench.storage.deleteAlarm()
        if self.due is not None:
            self.due, self.is_rearmed = None, False

    @rule()
    def set_in_a_transaction_that_fails(self) -> None:
        def fail() -> None:
            self.bench.storage.setAlarm(self.bench.now_ms + 9)
            raise KeyError

        with pytest.raises(KeyError):
            self.bench.storage.transactionSync(fail)

    @precondition(lambda self: not self.is_running and self.due is not None)
    @rule()
    def begin_run(self) -> None:
        self.bench.storage.begin_alarm_run()
        self.is_running = True

    @precondition(lambda self: self.is_running)
    @rule(success=st.booleans())
    def finish_run(self, success: bool) -> None:
        was_still_set = self.due is not None and not self.is_rearmed
        assert self.bench.storage.finish_alarm_run(success=success) is was_still_set
        if success and was_still_set:
            self.due = None
        self.is_running = self.is_rearmed = False

    @rule()
    def end_turn(self) -> None:
        self.bench.end_turn()
        self.saved = self.due
        changed, due = self.bench.storage.take_alarm_change()
        assert due == self.due
        assert changed or due == self.told, "the runtime was not told of a change"
        self.told = due

    @rule()
    def crash(self) -> None:
        self.bench.reopen()
        self.due = self.told = self.saved
        self.is_running = self.is_rearmed = False

    @invariant()
    def agrees(self) -> None:
        is_hidden = self.is_running and not self.is_rearmed
        assert value_of(self.bench.storage.getAlarm()) == (None if is_hidden else self.due)
        assert self.bench.storage.alarm_due_ms() == self.due


def value_of(completed: Awaitable[object]) -> object:
    """Return what a completed awaitable gives."""
    with pytest.raises(StopIteration) as stop:
        next(completed.__await__())
    return stop.value.value


class Turn:
    """Something that waits at the gate; `passes` is told when it gets in."""

    def __init__(self, scope: Scope, passes: Callable[[Turn], None]) -> None:
        self.scope, self._passes = scope, passes

    def proceed(self) -> None:
        self._passes(self)

    def abandon(self, error: BaseException) -> None:
        raise AssertionError("this gate does not break") from error


class GateMachine(RuleBasedStateMachine):
    """The input gate against queues: one turn at a time, of the topmost section only, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.soon: list[Callable[[], None]] = []
        self.gate = InputGate(self.soon.append)
        self.sections = [self.gate.root]
        self.queues: dict[Scope, list[Turn]] = {self.gate.root: []}
        self.running: Turn | None = None

    def passed(self, turn: Turn) -> None:
        assert self.running is None, "two turns at once"
        assert turn.scope.live() is self.sections[-1], "a turn of a scope that is closed"
        assert self.queues[self.sections[-1]].pop(0) is turn, "out of order"
        self.gate.is_busy = True
        self.running = turn

    @rule()
    def event_arrives(self) -> None:
        is_open = (
            self.running is None
            and self.sections == [self.gate.root]
            and not self.queues[self.gate.root]
        )
        turn = Turn(self.gate.root, self.passed)
        if self.gate.enter_event():
            assert is_open
            self.running = turn
        else:
            assert not is_open
            self.queues[self.gate.root].append(turn)
            self.gate.wait(self.gate.root, turn)

    @rule(depth=st.integers(0, 5))
    def turn_wakes(self, depth: int) -> None:
        scope = self.sections[min(depth, len(self.sections) - 1)]
        turn = Turn(scope, self.passed)
        if self.gate.enter(scope):
            assert self.running is None
            assert scope is self.sections[-1]
            self.running = turn
        else:
            self.queues[scope].append(turn)
            self.gate.wait(scope, turn)

    @precondition(lambda self: self.running is not None)
    @rule()
    def turn_ends(self) -> None:
        self.running = None
        self.gate.leave()

    @precondition(lambda self: self.running is None and len(self.sections) < 5)
    @rule()
    def section_begins(self) -> None:
        section = self.gate.begin_section(self.sections[-1])
        self.sections.append(section)
        self.queues[section] = []

    @precondition(lambda self: len(self.sections) > 1)
    @rule()
    def section_ends(self) -> None:
        section = self.sections.pop()
        self.gate.end_section(section)
        # What still waits in it waits below, before those who wait there.
        self.queues[self.sections[-1]] = [
            *self.queues.pop(section),
            *self.queues[self.sections[-1]],
        ]

    @rule()
    def loop_goes_round(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert self.gate.is_busy is (self.running is not None)
        assert self.gate.waiting() == sum(map(len, self.queues.values()))
        if self.running is None and self.queues[self.sections[-1]]:
            assert self.soon, "somebody could pass, and nothing is going to let them"


MACHINES: tuple[type[RuleBasedStateMachine], ...] = (
    SqlMachine,
    AlarmMachine,
    GateMachine,
)
