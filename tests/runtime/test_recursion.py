"""A stack that ends anywhere, also in the middle of the host's own work, harms the call alone."""

from __future__ import annotations

from collections import Counter

import pytest
from host_bench import Bench

from dohost.errors import JsRangeError

WORKER = """
import sys

class Counter(DurableObject):
    async def call_at_the_end_of_the_stack(self, frames):
        used, frame = 0, sys._getframe()
        while frame is not None:
            used, frame = used + 1, frame.f_back
        replies, failed = [], 0

        def deeper(count):
            return deeper(count - 1) if count else self.env.COUNTER.getByName("b").increment()

        for left in range(frames):
            try:
                replies.append(deeper(sys.getrecursionlimit() - used - left))
            except RecursionError:
                failed += 1
        outcomes = []
        for reply in replies:
            try:
                outcomes.append(type(await reply).__name__)
            except Exception as error:
                outcomes.append(type(error).__name__)
        return [failed, outcomes]

    async def increment(self):
        count = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", count)
        return count

    async def recurse(self):
        return await self.recurse()
"""


async def test_a_recursion_without_end_is_a_range_error_and_resets_nothing(bench: Bench) -> None:
    await bench.run(WORKER)
    with pytest.raises(JsRangeError, match="Maximum call stack size exceeded") as caught:
        await bench.stub().recurse()
    assert isinstance(caught.value.__cause__, RecursionError)
    assert not caught.value.durableObjectReset
    assert await bench.stub().increment() == 1


async def test_calls_at_every_distance_from_the_end_of_the_stack_happen_wholly_or_not(
    bench: Bench,
) -> None:
    await bench.run(WORKER)
    failed, outcomes = await bench.stub("a").call_at_the_end_of_the_stack(90)
    found = Counter(outcomes)
    assert failed > 5
    assert set(found) <= {"int", "JsRangeError"}
    assert found["int"] > 5
    called = bench.actor("b")
    assert (called.turns, called.broken, called.nesting.depth) == ({}, None, 0)
    assert await bench.stub("b").increment() == found["int"] + 1
