"""`Completed`: done before it is awaited."""

from __future__ import annotations

import asyncio

import pytest

from dohost.storage.awaitable import Completed


async def test_awaiting_gives_the_result_as_often_as_one_likes() -> None:
    completed = Completed((1, 2))
    assert await completed == (1, 2)
    assert await completed == (1, 2)


async def test_awaiting_never_suspends() -> None:
    order = []

    async def other() -> None:
        order.append("other")

    task = asyncio.ensure_future(other())
    await Completed(None)
    order.append("self")
    await task
    assert order == ["self", "other"]


async def test_asyncio_takes_it_for_a_coroutine() -> None:
    assert await asyncio.gather(Completed(1), Completed(2)) == [1, 2]
    assert await asyncio.create_task(Completed(3)) == 3  # type: ignore[arg-type] # a coroutine by its methods


async def test_a_task_of_it_that_is_cancelled_before_it_starts_is_cancelled() -> None:
    task = asyncio.ensure_future(asyncio.gather(Completed(1)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_it_can_be_driven_by_hand() -> None:
    completed = Completed("x")
    with pytest.raises(StopIteration) as stop:
        completed.send(None)
    assert stop.value.value == "x"
    with pytest.raises(KeyError):
        completed.throw(KeyError("gone"))
    with pytest.raises(KeyError):
        completed.throw(KeyError)
    with pytest.raises(ValueError, match="told"):
        completed.throw(ValueError, ValueError("told"))
    completed.close()
    assert repr(completed) == "<Completed 'x'>"
