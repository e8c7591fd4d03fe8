"""Due times, runs and retries, on a manual clock, against a scripted runner."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dohost.clock import ManualClock, SeededEntropy
from dohost.gates import Batch
from dohost.runtime.alarms import (
    AlarmEnd,
    AlarmOutcome,
    AlarmScheduler,
    retry_delay_s,
)
from dohost.runtime.catalog import Catalog, ObjectKey
from dohost.telemetry import Event, Log

KEY = ObjectKey("app-Counter", "ab" * 32, "alice")
DONE = AlarmOutcome(AlarmEnd.done)
FAILED = AlarmOutcome(AlarmEnd.failed)


class Runner:
    """Answers with what the test put in `outcomes`, then with success."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.outcomes: list[AlarmOutcome] = []
        self.runs: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int]] = []
        self.given_up: list[ObjectKey] = []
        self.hold: asyncio.Event | None = None

    async def run_alarm(self, key: ObjectKey, *, attempt: int, due_ms: int) -> AlarmOutcome:
        self.runs.append((self.clock.realtime_ns() // 1_000_000, attempt))
        self.asked.append((attempt, due_ms))
        if self.hold is not None:
            await self.hold.wait()
        return self.outcomes.pop(0) if self.outcomes else DONE

    async def give_up_alarm(self, key: ObjectKey, due_ms: int) -> None:
        self.given_up.append(key)


class Bench:
    def __init__(self, catalog: Catalog, clock: ManualClock) -> None:
        self.clock, self.catalog = clock, catalog
        self.events: list[Event] = []
        self.scheduler = AlarmScheduler(
            asyncio.get_running_loop(),
            catalog,
            clock=clock,
            entropy=SeededEntropy(7),
            log=Log(self.events.append),
        )
        self.runner = Runner(clock)

    @property
    def now_ms(self) -> int:
        return self.clock.realtime_ns() // 1_000_000

    async def change(self, due_ms: int | None) -> None:
        batch = Batch()
        requirement = self.scheduler.changed(KEY, due_ms, batch)
        if requirement is not None:
            await requirement
        batch.finish(None)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.scheduler.poll()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Catalog(tmp_path / "catalog.sqlite", asyncio.get_running_loop()) as catalog:
        bench = Bench(catalog, ManualClock())
        bench.scheduler.start(bench.runner, [])
        yield bench
        await bench.scheduler.stop()


async def test_an_alarm_fires_once_and_never_before_its_time(bench: Bench) -> None:
    await bench.change(bench.now_ms + 1000)
    await bench.advance(0.999)
    assert bench.runner.runs == []
    await bench.advance(0.001)
    await bench.advance(60)
    assert len(bench.runner.runs) == 1


async def test_an_alarm_is_in_the_catalog_before_it_is_acknowledged(bench: Bench) -> None:
    due_ms = bench.now_ms + 1000
    batch = Batch()
    requirement = bench.scheduler.changed(KEY, due_ms, batch)
    assert requirement is not None
    await requirement
    assert not batch.is_done
    assert await bench.catalog.alarms() == [(KEY, due_ms)]


async def test_moving_an_alarm_later_is_indexed_only_when_that_is_durable(bench: Bench) -> None:
    first = bench.now_ms + 1000
    await bench.change(first)
    batch = Batch()
    assert bench.scheduler.changed(KEY, first + 5000, batch) is None
    assert bench.scheduler.due_ms(KEY.address) == first
    batch.finish(None)
    assert bench.scheduler.due_ms(KEY.address) == first + 5000


async def test_a_change_that_fails_to_commit_leaves_the_index_alone(bench: Bench) -> None:
    first = bench.now_ms + 1000
    await bench.change(first)
    batch = Batch()
    bench.scheduler.changed(KEY, None, batch)
    batch.finish(OSError())
    assert bench.scheduler.due_ms(KEY.address) == first


async def test_an_older_change_does_not_undo_a_newer_one(bench: Bench) -> None:
    first = bench.now_ms + 1000
    await bench.change(first)
    cleared, moved = Batch(), Batch()
    bench.scheduler.changed(KEY, None, cleared)
    bench.scheduler.changed(KEY, first + 9000, moved)
    cleared.finish(None)
    assert bench.scheduler.due_ms(KEY.address) == first
    moved.finish(None)
    assert bench.scheduler.due_ms(KEY.address) == first + 9000


async def test_a_deleted_alarm_does_not_fire(bench: Bench) -> None:
    await bench.change(bench.now_ms + 1000)
    await bench.change(None)
    await bench.advance(2)
    assert bench.runner.runs == []


async def test_an_alarm_that_the_object_moved_is_looked_at_again(bench: Bench) -> None:
    due_ms = bench.now_ms + 1000
    await bench.change(due_ms)
    bench.runner.outcomes = [AlarmOutcome(AlarmEnd.not_due, due_ms + 3000)]
    await bench.advance(1)
    await bench.advance(3)
    assert [attempt for _, attempt in bench.runner.runs] == [0, 0]


async def test_a_failing_handler_runs_seven_times_and_is_then_given_up(bench: Bench) -> None:
    bench.runner.outcomes = [FAILED] * 7
    await bench.change(bench.now_ms)
    for _ in range(400):
        await bench.advance(1)
    assert [attempt for _, attempt in bench.runner.runs] == [0, 1, 2, 3, 4, 5, 6]
    times = [time for time, _ in bench.runner.runs]
    waits = [(later - earlier) / 1000 for earlier, later in itertools.pairwise(times)]
    for wait, base in zip(waits, [2, 4, 8, 16, 32, 64], strict=True):
        assert base <= wait <= base * 1.25 + 1
    assert bench.runner.given_up == [KEY]
    assert bench.scheduler.due_ms(KEY.address) is None
    assert bench.scheduler.ends == {AlarmEnd.failed: 7}
    assert (bench.scheduler.retries, bench.scheduler.given_up) == (6, 1)


async def test_failures_of_the_host_do_not_count(bench: Bench) -> None:
    bench.runner.outcomes = [AlarmOutcome(AlarmEnd.host_failed)] * 20
    await bench.change(bench.now_ms)
    for _ in range(200):
        await bench.advance(1)
    assert {attempt for _, attempt in bench.runner.runs} == {0}
    assert bench.runner.given_up == []


async def test_an_alarm_set_while_the_handler_runs_waits_for_its_end(bench: Bench) -> None:
    bench.runner.hold = asyncio.Event()
    await bench.change(bench.now_ms)
    await bench.advance(0)
    await bench.change(bench.now_ms - 1)
    await bench.advance(1)
    assert len(bench.runner.runs) == 1
    bench.runner.hold.set()
    await bench.advance(0)
    await bench.advance(0)
    assert len(bench.runner.runs) == 2


async def test_overdue_alarms_fire_at_start(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Catalog(tmp_path / "catalog.sqlite", asyncio.get_running_loop()) as catalog:
        await catalog.set_alarm(KEY, clock.realtime_ns() // 1_000_000 - 5000)
        bench = Bench(catalog, clock)
        bench.scheduler.start(bench.runner, await catalog.alarms())
        await bench.advance(0)
        assert len(bench.runner.runs) == 1
        await bench.scheduler.stop()


async def test_a_wall_clock_that_jumps_back_delays_but_does_not_lose_an_alarm(bench: Bench) -> None:
    await bench.change(bench.now_ms + 1000)
    bench.clock.jump(-3600)
    await bench.advance(10)
    assert bench.runner.runs == []
    bench.clock.jump(3600)
    await bench.advance(0)
    assert len(bench.runner.runs) == 1


@pytest.mark.parametrize(
    ("attempt", "chance", "delay_s"),
    [(0, 0.0, 2.0), (3, 0.0, 16.0), (9, 0.0, 1024.0), (30, 1.0, 1280.0)],
)
def test_the_delay_doubles_up_to_a_limit(attempt: int, chance: float, delay_s: float) -> None:
    assert retry_delay_s(attempt, chance) == delay_s


async def test_an_alarm_that_is_set_while_the_end_of_a_run_becomes_durable_is_not_forgotten(
    bench: Bench,
) -> None:
    due_ms = bench.now_ms + 1000
    await bench.change(due_ms)
    bench.runner.hold = asyncio.Event()
    await bench.advance(1)
    deleted, set_anew = Batch(), Batch()
    bench.scheduler.changed(KEY, None, deleted)
    bench.scheduler.changed(KEY, due_ms + 9000, set_anew)
    # The run ends when its deletion is durable; the new alarm is not durable yet.
    deleted.finish(None)
    bench.runner.outcomes = [DONE, AlarmOutcome(AlarmEnd.not_due, due_ms + 9000)]
    bench.runner.hold.set()
    await bench.advance(0)
    set_anew.finish(None)
    await bench.advance(0)
    assert bench.scheduler.due_ms(KEY.address) == due_ms + 9000
    await bench.advance(9)
    assert bench.runner.runs[-1][0] == due_ms + 9000


async def test_an_alarm_waits_for_the_index_also_when_it_is_set_twice_in_a_row(
    bench: Bench,
) -> None:
    due_ms = bench.now_ms + 1000
    deleted = Batch()
    first = bench.scheduler.changed(KEY, due_ms, Batch())
    assert bench.scheduler.is_behind(KEY.address, due_ms)
    assert bench.scheduler.changed(KEY, None, deleted) is None
    second = bench.scheduler.changed(KEY, due_ms + 5000, Batch())
    assert first is second is not None
    # The deletion in between is overtaken, and must not take the alarm out of the index.
    deleted.finish(None)
    assert bench.scheduler.due_ms(KEY.address) == due_ms
    await first
    await asyncio.sleep(0)
    assert not bench.scheduler.is_behind(KEY.address, due_ms)


async def test_a_run_counts_for_the_alarm_that_it_ran_for(bench: Bench) -> None:
    due_ms = bench.now_ms + 1000
    await bench.change(due_ms)
    # The second run finds another alarm in the file, of which the index has not heard.
    newer = due_ms + 500
    bench.runner.outcomes = [
        AlarmOutcome(AlarmEnd.failed, due_ms),
        AlarmOutcome(AlarmEnd.failed, newer),
        AlarmOutcome(AlarmEnd.failed, newer),
    ]
    for seconds in (1, 3, 3, 6):
        await bench.advance(seconds)
    assert bench.runner.asked == [(0, due_ms), (1, due_ms), (1, newer), (2, newer)]


async def test_an_alarm_that_ran_before_the_index_had_it_is_retried_as_late_as_any(
    bench: Bench,
) -> None:
    due_ms = bench.now_ms + 1000
    await bench.change(due_ms)
    bench.runner.hold = asyncio.Event()
    bench.runner.outcomes = [AlarmOutcome(AlarmEnd.failed, due_ms + 1, is_still_set=True)]
    await bench.advance(2)
    await bench.change(due_ms + 1)
    bench.runner.hold.set()
    await bench.advance(1)
    assert len(bench.runner.runs) == 1
    await bench.advance(3)
    assert bench.runner.asked == [(0, due_ms), (1, due_ms + 1)]
