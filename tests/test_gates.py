"""The gates' invariants, without an event loop: `schedule` is a list that the test runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dohost.gates import Batch, InputGate, OutputGate, Scope


class Waiter:
    """Takes its step when admitted: enters, notes its name, leaves."""

    def __init__(self, gate: InputGate, name: str, log: list[str]) -> None:
        self.gate, self.name, self.log = gate, name, log

    def proceed(self) -> None:
        self.gate.is_busy = True
        self.log.append(self.name)
        self.gate.leave()

    def abandon(self, error: BaseException) -> None:
        self.log.append(f"{self.name} abandoned: {error}")


class Loop:
    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def schedule(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def gate(loop: Loop) -> InputGate:
    return InputGate(loop.schedule)


def test_an_open_gate_admits_an_event_at_once(gate: InputGate) -> None:
    assert gate.enter_event()
    assert gate.is_busy


def test_a_turn_on_the_stack_holds_back_the_next(gate: InputGate, loop: Loop) -> None:
    log: list[str] = []
    assert gate.enter_event()
    assert not gate.enter_event()
    gate.wait(gate.root, Waiter(gate, "b", log))
    gate.wait(gate.root, Waiter(gate, "c", log))
    loop.run()
    assert log == []
    gate.leave()
    loop.run()
    assert log == ["b", "c"]


def test_a_new_event_never_overtakes_a_waiter(gate: InputGate, loop: Loop) -> None:
    log: list[str] = []
    gate.enter_event()
    gate.wait(gate.root, Waiter(gate, "first", log))
    gate.leave()
    assert not gate.enter_event()


def test_a_section_admits_only_its_own_turns(gate: InputGate, loop: Loop) -> None:
    log: list[str] = []
    section = gate.begin_section(gate.root)
    gate.wait(gate.root, Waiter(gate, "outer", log))
    gate.wait(section, Waiter(gate, "inner", log))
    loop.run()
    assert log == ["inner"]
    gate.end_section(section)
    loop.run()
    assert log == ["inner", "outer"]


def test_sections_that_wait_start_before_plain_waiters(gate: InputGate, loop: Loop) -> None:
    log: list[str] = []
    gate.enter_event()
    gate.wait(gate.root, Waiter(gate, "turn", log))
    gate.wait_start(gate.root, Waiter(gate, "section 1", log))
    gate.wait_start(gate.root, Waiter(gate, "section 2", log))
    gate.leave()
    loop.run()
    assert log == ["section 1", "section 2", "turn"]


def test_a_nested_section_blocks_the_outer_one(gate: InputGate, loop: Loop) -> None:
    outer = gate.begin_section(gate.root)
    inner = gate.begin_section(outer)
    assert not gate.enter(outer)
    assert gate.enter(inner)
    gate.leave()
    gate.end_section(inner)
    assert gate.enter(outer)


def test_what_outlives_its_section_belongs_to_the_scope_below(gate: InputGate) -> None:
    section = gate.begin_section(gate.root)
    gate.end_section(section)
    assert section.live() is gate.root
    assert gate.enter(section)


def test_waiters_left_in_a_section_go_first_in_the_scope_below(gate: InputGate, loop: Loop) -> None:
    log: list[str] = []
    section = gate.begin_section(gate.root)
    gate.wait(gate.root, Waiter(gate, "outer", log))
    gate.enter(section)
    gate.wait(section, Waiter(gate, "left over", log))
    gate.end_section(section)
    gate.leave()
    loop.run()
    assert log == ["left over", "outer"]


def test_a_broken_gate_answers_everybody_with_the_first_error(gate: InputGate) -> None:
    log: list[str] = []
    section = gate.begin_section(gate.root)
    gate.wait(gate.root, Waiter(gate, "outer", log))
    gate.enter(section)
    gate.wait(section, Waiter(gate, "inner", log))
    gate.break_with(ValueError("first"))
    gate.break_with(ValueError("second"))
    gate.wait(gate.root, Waiter(gate, "late", log))
    assert sorted(log) == [
        "inner abandoned: first",
        "late abandoned: first",
        "outer abandoned: first",
    ]


def test_a_scope_counts_its_depth() -> None:
    root = Scope()
    assert (root.depth, Scope(Scope(root)).depth) == (0, 2)


def test_an_output_without_writes_waits_for_nothing() -> None:
    assert OutputGate().barrier() is None


def test_an_output_waits_for_the_batch_that_was_open_when_it_was_produced() -> None:
    gate, first, second = OutputGate(), Batch(), Batch()
    released: list[str] = []
    gate.lock(first)
    barrier = gate.barrier()
    assert barrier is first
    barrier.add_callback(lambda error: released.append("first"))
    gate.lock(second)
    first.finish(None)
    assert released == ["first"]
    assert gate.barrier() is second
    second.finish(None)
    assert gate.barrier() is None


def test_callbacks_of_a_batch_run_once_and_in_order() -> None:
    batch, log = Batch(), []
    for number in range(3):
        batch.add_callback(lambda error, number=number: log.append((number, error)))
    batch.finish(None)
    batch.finish(ValueError())
    batch.add_callback(lambda error: log.append((3, error)))
    assert log == [(0, None), (1, None), (2, None), (3, None)]


def test_a_failed_batch_keeps_failing_outputs() -> None:
    gate, batch, error = OutputGate(), Batch(), OSError("disk")
    gate.lock(batch)
    batch.finish(error)
    seen: list[BaseException | None] = []
    barrier = gate.barrier()
    assert barrier is not None
    barrier.add_callback(seen.append)
    assert seen == [error]


def test_a_broken_output_gate_answers_with_its_first_error() -> None:
    gate, seen = OutputGate(), []
    gate.break_with(ValueError("first"))
    gate.break_with(ValueError("second"))
    barrier = gate.barrier()
    assert barrier is not None
    barrier.add_callback(seen.append)
    assert [str(error) for error in seen] == ["first"]


def test_outputs_wait_for_what_lies_beside_the_commits_too() -> None:
    gate, seen = OutputGate(), []
    before, beside, after = Batch(), Batch(), Batch()
    gate.lock(before)
    gate.lock_beside(beside)
    first = gate.barrier()
    gate.lock(after)
    second = gate.barrier()
    assert first is not None
    assert second is not None
    first.add_callback(lambda error: seen.append("first"))
    second.add_callback(lambda error: seen.append("second"))
    before.finish(None)
    after.finish(None)
    assert seen == []
    beside.finish(None)
    assert seen == ["first", "second"]
    assert gate.barrier() is None


def test_what_fails_beside_the_commits_fails_the_outputs() -> None:
    gate, error = OutputGate(), OSError("disk")
    own, beside = Batch(), Batch()
    gate.lock(own)
    gate.lock_beside(beside)
    barrier = gate.barrier()
    assert barrier is not None
    beside.finish(error)
    assert barrier.error is error
    gate.break_with(error)
    broken = gate.barrier()
    assert broken is not None
    assert broken.error is error
