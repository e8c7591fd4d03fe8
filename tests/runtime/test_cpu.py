"""Processor time: what is charged to whom, and what becomes of an object that used too much."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.clock import ManualClock
from dohost.errors import JsException
from dohost.runtime.cpu import CPU_EXCEEDED, CPU_S_DEFAULT, CpuAccount, CpuMeter, cpu_limit_s

WORKER = """
import asyncio

class Counter(DurableObject):
    made = 0

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        type(self).made += 1

    async def compute(self, seconds, rests=0):
        await self.ctx.storage.put("n", 1)
        compute(seconds)
        for _ in range(rests):
            await asyncio.sleep(0)
            compute(seconds)
        return "done"

    async def fail_after(self, seconds):
        compute(seconds)
        raise ValueError("planned")

    async def in_a_section(self, seconds):
        async def section():
            compute(seconds)
        compute(seconds)
        await self.ctx.blockConcurrencyWhile(section)
        return "done"

    async def in_a_task(self, seconds):
        async def task():
            compute(seconds)
        compute(seconds)
        await asyncio.gather(task(), task())
        return "done"

    async def ask(self, name, own, other):
        compute(own)
        answer = await self.env.COUNTER.getByName(name).compute(other)
        return answer

    async def wait(self):
        await asyncio.sleep(3600)

    async def read(self):
        return [await self.ctx.storage.get("n"), type(self).made]
"""


@pytest.fixture
async def bench(tmp_path: Path):
    bench = Bench(tmp_path, is_strict=True)
    await run(bench)
    yield bench
    await bench.host.drain(grace_s=0)


async def run(bench: Bench, **options: object) -> None:
    await bench.run(bench.config(WORKER, **options))
    bench.host.generations["app"].module.compute = bench.clock.compute


async def raised_by(call) -> JsException:
    with pytest.raises(JsException) as caught:
        await call
    return caught.value


# The meter


def test_a_step_inside_another_pauses_the_charging_of_the_outer() -> None:
    clock = ManualClock()
    meter = CpuMeter(clock.thread_cpu)
    outer, inner = CpuAccount(meter, 10.0), CpuAccount(meter, 1.0)
    outer.used_s = 0.5
    meter.begin("outer", outer)
    clock.compute(1)
    meter.begin("inner", inner)
    clock.compute(1)
    assert not meter.running.is_over(meter.cpu_s())
    clock.compute(0.25)
    assert meter.running.is_over(meter.cpu_s())
    meter.end(inner)
    assert (meter.running.owner, inner.used_s, inner.is_over) == ("outer", 1.25, True)
    clock.compute(2)
    meter.end(outer)
    assert (meter.running, outer.used_s) == (None, 3.5)


@pytest.mark.parametrize(
    ("configured_ms", "is_strict", "limit_s"),
    [(None, False, None), (None, True, CPU_S_DEFAULT), (50, False, 0.05), (50, True, 0.05)],
)
def test_the_configuration_decides_over_strict_mode(
    configured_ms: int | None, is_strict: bool, limit_s: float | None
) -> None:
    assert cpu_limit_s(configured_ms, is_strict=is_strict) == limit_s


# Objects


async def test_an_object_over_its_limit_is_reset_and_nothing_of_that_turn_is_kept(
    bench: Bench,
) -> None:
    stub = bench.stub()
    assert await stub.compute(CPU_S_DEFAULT) == "done"
    waiting = asyncio.ensure_future(stub.wait())
    await asyncio.sleep(0)
    error = await raised_by(stub.compute(CPU_S_DEFAULT + 0.001))
    assert error.message == CPU_EXCEEDED
    assert (error.durableObjectReset, error.remote, error.overloaded) == (True, True, False)
    assert (await raised_by(waiting)).message == CPU_EXCEEDED
    assert (await raised_by(stub.read())).message == CPU_EXCEEDED
    assert await bench.stub().read() == [1, 2]


async def test_writes_of_the_turn_that_used_too_much_are_rolled_back(bench: Bench) -> None:
    await raised_by(bench.stub().compute(31))
    assert await bench.stub().read() == [None, 2]


async def test_the_steps_of_one_event_are_counted_together(bench: Bench) -> None:
    assert await bench.stub().compute(10, 2) == "done"
    assert (await raised_by(bench.stub().compute(10, 3))).message == CPU_EXCEEDED


@pytest.mark.parametrize(("method", "seconds"), [("in_a_section", 15), ("in_a_task", 10)])
async def test_sections_and_tasks_belong_to_their_event(
    bench: Bench, method: str, seconds: float
) -> None:
    assert await getattr(bench.stub(), method)(seconds) == "done"
    assert (await raised_by(getattr(bench.stub(), method)(seconds + 1))).message == CPU_EXCEEDED


async def test_each_event_that_comes_in_has_the_whole_limit_again(bench: Bench) -> None:
    for _ in range(3):
        assert await bench.stub().compute(29) == "done"


async def test_an_objects_own_failure_does_not_hide_that_it_used_too_much(bench: Bench) -> None:
    assert (await raised_by(bench.stub().fail_after(31))).message == CPU_EXCEEDED
    assert "planned" in (await raised_by(bench.stub().fail_after(29))).message


async def test_what_a_called_object_uses_is_not_its_callers(bench: Bench) -> None:
    assert await bench.stub("a").ask("b", 20, 20) == "done"
    assert (await raised_by(bench.stub("a").ask("b", 1, 31))).message == CPU_EXCEEDED
    assert (await bench.stub("a").read())[0] is None
    assert bench.actor("a").broken is None


async def test_the_configured_limit_holds_without_strict_mode(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await run(bench, cpu_ms=50)
    assert await bench.stub().compute(0.05) == "done"
    assert (await raised_by(bench.stub().compute(0.051))).message == CPU_EXCEEDED
    await bench.host.drain(grace_s=0)


async def test_without_either_there_is_no_limit_and_no_meter(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await run(bench)
    assert await bench.stub().compute(1_000_000) == "done"
    assert bench.actor().cpu is None
    await bench.host.drain(grace_s=0)
