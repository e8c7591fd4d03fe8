"""The virtual loop jumps in time, mixes what is ready by its seed alone, and says when nothing can happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.simulation.virtual_loop import Stalled, VirtualLoop, VirtualThreads


def order_of(seed: int, *, disorder: float) -> list[int]:
    """Return the order in which six callbacks run that are ready at once."""
    loop, ran = VirtualLoop(random.Random(seed), disorder=disorder), list[int]()
    for number in range(6):
        loop.call_soon(ran.append, number)
    loop.run_until_complete(asyncio.wait_for(until(lambda: len(ran) == 6), 9))
    loop.close()
    return ran


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_seed_gives_one_order_and_seeds_give_many() -> None:
    orders = [order_of(seed, disorder=1.0) for seed in range(20)]
    assert orders == [order_of(seed, disorder=1.0) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 10


def test_without_disorder_callbacks_run_first_come_first_served() -> None:
    assert order_of(1, disorder=0.0) == list(range(6))


def test_waiting_costs_no_time_and_timers_fire_in_order() -> None:
    loop, ran = VirtualLoop(random.Random(1), disorder=1.0), list[str]()
    began_s = loop.time()

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        ran.append(name)

    async def both() -> None:
        await asyncio.gather(sleep("late", 3600), sleep("early", 60))

    loop.run_until_complete(both())
    loop.close()
    assert ran == ["early", "late"]
    assert loop.time() - began_s == 3600


def test_a_job_in_a_thread_ends_later_and_gives_its_result_or_error() -> None:
    loop = VirtualLoop(random.Random(1), disorder=0.0)
    threads = VirtualThreads(loop, lambda: 0.5)

    async def run() -> None:
        assert await loop.run_in_executor(threads, int, "7") == 7
        with pytest.raises(ValueError, match="x"):
            await loop.run_in_executor(threads, int, "x")

    loop.run_until_complete(run())
    loop.close()


def test_a_loop_in_which_nothing_can_happen_says_so() -> None:
    loop = VirtualLoop(random.Random(1), disorder=0.0)
    waiter = loop.create_future()
    with pytest.raises(Stalled):
        loop.run_until_complete(waiter)
    loop.close()
