"""Turns: asyncio's own tools work inside them, and the input gate holds over any awaitable."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator

import pytest

from dohost.gates import Batch, InputGate
from dohost.runtime.custom_task import NEUTRAL
from dohost.runtime.tasks import make_task
from dohost.runtime.turns import Nesting, Sink, Turn, current_owner


class Owner:
    """The least that a turn needs of its object."""

    def __init__(self, nesting: Nesting) -> None:
        self.loop = asyncio.get_running_loop()
        self.nesting = nesting
        self.gate = InputGate(lambda callback: self.loop.call_soon(callback, context=NEUTRAL))
        self.context = contextvars.Context()
        self.context.run(current_owner.set, self)
        self.turns: dict[Turn, None] = {}
        self.turn_type = Turn

    def turn_ended(self) -> None:
        pass

    def barrier(self) -> Batch | None:
        return None

    def new_turn(self, entry: Callable[[], object], sink: Sink | None) -> Turn:
        return Turn(self, entry, sink, self.context.copy())

    def run(self, entry: Callable[[], object]) -> Outcome:
        outcome = Outcome()
        self.new_turn(entry, outcome).start()
        return outcome


class Outcome:
    def __init__(self) -> None:
        self.value: object = "nothing yet"
        self.error: BaseException | None = None
        self._done = asyncio.Event()

    def returned(self, value: object) -> None:
        self.value = value
        self._done.set()

    def raised(self, error: BaseException) -> None:
        self.error = error
        self._done.set()

    async def __call__(self) -> object:
        await self._done.wait()
        if self.error is not None:
            raise self.error
        return self.value


@pytest.fixture
async def owner() -> Iterator[Owner]:
    loop = asyncio.get_running_loop()
    nesting = Nesting()
    loop.set_task_factory(make_task)
    yield Owner(nesting)
    loop.set_task_factory(None)


async def test_code_that_never_suspends_never_visits_the_loop(owner: Owner) -> None:
    async def handler() -> str:
        return "at once"

    assert owner.run(handler).value == "at once"
    assert owner.run(lambda: "plain function").value == "plain function"
    assert not owner.turns


async def test_the_running_turn_is_the_current_task_and_is_restored(owner: Owner) -> None:
    outer = asyncio.current_task()
    seen: list[object] = []

    async def inner() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    outcome = owner.run(inner)
    assert asyncio.current_task() is outer
    await outcome()
    assert type(seen[0]) is Turn
    assert seen[0] is seen[1]


async def test_two_events_interleave_only_where_they_suspend(owner: Owner) -> None:
    log: list[str] = []

    async def event(name: str) -> None:
        log.append(f"{name} reads")
        log.append(f"{name} writes")
        await asyncio.sleep(0)
        log.append(f"{name} ends")

    first, second = owner.run(lambda: event("a")), owner.run(lambda: event("b"))
    await first()
    await second()
    assert log == ["a reads", "a writes", "b reads", "b writes", "a ends", "b ends"]


async def test_exceptions_of_plain_functions_and_coroutines_reach_the_sink(owner: Owner) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        await owner.run(fails)()
    with pytest.raises(ZeroDivisionError):
        await owner.run(lambda: 1 // 0)()
    with pytest.raises(RuntimeError, match="StopIteration"):
        await owner.run(lambda: next(iter(())))()


async def test_timeouts_cancel_inside_a_turn(owner: Owner) -> None:
    async def handler() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "timed out"
        return "not reached"

    assert await owner.run(handler)() == "timed out"


async def test_task_groups_and_gather_run_turns_of_the_same_object(owner: Owner) -> None:
    async def child(number: int) -> tuple[int, bool]:
        task = asyncio.current_task()
        await asyncio.sleep(0)
        return number, type(task) is Turn and task.owner is owner

    async def handler() -> list[tuple[int, bool]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(number)) for number in range(2)]
        gathered = await asyncio.gather(child(2), child(3))
        return [task.result() for task in tasks] + list(gathered)

    assert await owner.run(handler)() == [(0, True), (1, True), (2, True), (3, True)]


async def test_awaitables_that_are_no_coroutines_can_be_gathered_and_made_tasks(
    owner: Owner,
) -> None:
    class Later:
        def __await__(self) -> Iterator[object]:
            yield from asyncio.sleep(0).__await__()
            return "later"

    async def handler() -> list[str]:
        task = asyncio.get_running_loop().create_task(Later())  # type: ignore[arg-type]
        return [*await asyncio.gather(Later(), Later()), await task]

    assert await owner.run(handler)() == ["later"] * 3


async def test_a_failing_child_cancels_its_group(owner: Owner) -> None:
    cancelled: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fails() -> None:
        raise ValueError

    async def handler() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(waits())
                group.create_task(fails())
        except ExceptionGroup as errors:
            return f"group failed: {errors.exceptions!r}"
        return "not reached"

    assert await owner.run(handler)() == "group failed: (ValueError(),)"
    assert cancelled == [True]


async def test_a_cancelled_user_task_can_clean_up(owner: Owner) -> None:
    log: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cleaned up")

    async def handler() -> bool:
        task = asyncio.create_task(background(), name="background")
        await asyncio.sleep(0)
        assert task.get_name() == "background"
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return task.cancelled()
        return False

    assert await owner.run(handler)() is True
    assert log == ["cleaned up"]


async def test_a_call_back_into_the_running_object_waits_for_its_turn(owner: Owner) -> None:
    log: list[str] = []

    def outer() -> None:
        owner.run(lambda: log.append("called back"))
        log.append("outer goes on")

    owner.run(outer)
    assert log == ["outer goes on"]
    await asyncio.sleep(0)
    assert log == ["outer goes on", "called back"]


async def test_a_continuation_waits_while_a_section_of_another_turn_runs(owner: Owner) -> None:
    log: list[str] = []

    async def handler() -> None:
        await asyncio.sleep(0)
        log.append("continued")

    outcome = owner.run(handler)
    section = owner.gate.begin_section(owner.gate.root)
    for _ in range(3):
        await asyncio.sleep(0)
    assert log == []
    owner.gate.end_section(section)
    await outcome()
    assert log == ["continued"]


async def test_a_killed_turn_is_closed_and_never_resumed(owner: Owner) -> None:
    log: list[str] = []

    async def handler() -> None:
        try:
            await asyncio.get_running_loop().create_future()
            log.append("resumed")
        finally:
            log.append("closed")

    outcome = owner.run(handler)
    (turn,) = owner.turns
    turn.kill(RuntimeError("reset"))
    assert log == ["closed"]
    with pytest.raises(RuntimeError, match="reset"):
        await outcome()
    assert not owner.turns


async def test_context_variables_do_not_cross_objects(owner: Owner) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("the caller's")
    assert owner.run(variable.get).value == "unset"


async def test_deep_eager_nesting_goes_by_way_of_the_loop(owner: Owner) -> None:
    owners = [Owner(owner.nesting) for _ in range(100)]
    reached: list[int] = []

    def call(index: int) -> None:
        reached.append(index)
        if index + 1 < len(owners):
            owners[index + 1].run(lambda: call(index + 1))

    owners[0].run(lambda: call(0))
    assert len(reached) < 100
    for _ in range(10):
        await asyncio.sleep(0)
    assert reached == list(range(100))
    assert owner.nesting.depth == 0


async def test_awaiting_what_is_no_future_is_an_error_in_user_code(owner: Owner) -> None:
    class Odd:
        def __await__(self) -> Iterator[object]:
            yield "not a future"

    async def handler() -> None:
        await Odd()

    with pytest.raises(RuntimeError, match="awaited 'not a future'"):
        await owner.run(handler)()


async def test_a_suspended_turn_is_listed_among_all_tasks(owner: Owner) -> None:
    release = asyncio.get_running_loop().create_future()

    async def handler() -> None:
        await release

    outcome = owner.run(handler)
    (turn,) = owner.turns
    assert turn in asyncio.all_tasks()
    release.set_result(None)
    await outcome()
    assert turn not in asyncio.all_tasks()
