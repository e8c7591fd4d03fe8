"""An eager task: its first step runs at once, and asyncio's own tools work inside it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine

import pytest

from dohost.runtime.eager_task import EagerTask, start_eagerly


def started(coro: Coroutine[object, object, object]) -> asyncio.Future[object]:
    return start_eagerly(coro, loop=asyncio.get_running_loop(), context=contextvars.Context())


async def test_code_that_never_suspends_is_done_before_the_next_line() -> None:
    outer = asyncio.current_task()

    async def work() -> object:
        return asyncio.current_task()

    task = started(work())
    assert task.done()
    assert task.result() is task
    assert asyncio.current_task() is outer


async def test_a_failure_is_the_outcome_and_not_the_starter_s() -> None:
    async def work() -> None:
        raise LookupError("inside")

    task = started(work())
    with pytest.raises(LookupError, match="inside"):
        await task


async def test_a_task_that_suspends_goes_on_by_the_loop_and_is_listed_meanwhile() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert asyncio.current_task() is task
            async with asyncio.TaskGroup() as group:
                inner = group.create_task(asyncio.sleep(0, "inner"))
        return inner.result()

    task = started(work())
    assert not task.done()
    assert task in asyncio.all_tasks()
    assert await task == "inner"
    assert task not in asyncio.all_tasks()


async def test_its_context_variables_stay_inside() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

    async def work() -> str:
        variable.set("inside")
        await asyncio.sleep(0)
        return variable.get()

    assert await started(work()) == "inside"
    assert variable.get() == "outside"


async def test_a_cancellation_reaches_the_code_and_can_be_undone() -> None:
    async def work() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            assert isinstance(task, asyncio.Task | EagerTask)
            assert task.cancelling() == 1
            assert task.uncancel() == 0
        return "went on"

    task = started(work())
    task.cancel()
    assert await task == "went on"


async def test_a_cancellation_that_nobody_catches_is_the_outcome() -> None:
    task = started(asyncio.sleep(60))
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        await task
    assert task.cancelled()


async def test_a_timeout_inside_ends_what_it_waits_for() -> None:
    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await started(work())


async def test_what_is_not_a_future_can_not_be_awaited() -> None:
    class Strange:
        def __await__(self):
            yield 7

    async def work() -> None:
        await Strange()

    with pytest.raises(RuntimeError, match="7"):
        await started(work())
