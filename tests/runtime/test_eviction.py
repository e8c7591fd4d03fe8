"""Which instances end, and when: the idle ones after a while, the idlest ones beyond the cap."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator

import pytest
from host_bench import Bench

from dohost.clock import ManualClock
from dohost.runtime import descriptors
from dohost.runtime.eviction import STEP, Evictor

COUNTER = """
class Counter(DurableObject):
    async def increment(self):
        count = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", count)
        return count
"""


class FakeActor:
    def __init__(self, owner: FakeClass, last_active_s: float) -> None:
        self.owner = owner
        self.last_active_s = last_active_s
        self.is_busy = False
        self.is_evicted = False
        self.looks = 0

    def evict_if_idle(self) -> bool:
        self.looks += 1
        if not self.is_busy:
            self.owner.actors.pop(str(self.last_active_s), None)
        return not self.is_busy


class FakeClass:
    """Objects that were last active at the second of their number."""

    def __init__(self) -> None:
        self.actors: dict[str, FakeActor] = {}

    def add(self, count: int) -> None:
        for _ in range(count):
            last = float(len(self.actors))
            self.actors[str(last)] = FakeActor(self, last)


@pytest.fixture
async def make() -> Iterator[Callable[[int], tuple[FakeClass, Evictor]]]:
    made: list[Evictor] = []

    def evictor(open_max: int) -> tuple[FakeClass, Evictor]:
        found = FakeClass()
        made.append(
            Evictor(
                asyncio.get_running_loop(),
                {"x": found},
                clock=ManualClock(),
                evict_after_s=None,
                open_max=open_max,
            )
        )
        return found, made[-1]

    yield evictor
    for each in made:
        each.stop()


async def test_a_sweep_evicts_what_was_idle_for_long_enough(make) -> None:
    found, evictor = make(100)
    found.add(5)
    assert evictor.sweep(idle_since_s=1.0) == 2
    assert list(found.actors) == ["2.0", "3.0", "4.0"]


async def test_nothing_happens_up_to_the_cap(make) -> None:
    found, evictor = make(100)
    found.add(100)
    evictor.started()
    await asyncio.sleep(0)
    assert len(found.actors) == 100


async def test_beyond_the_cap_the_idlest_end_at_once_and_a_few_more_with_them(make) -> None:
    found, evictor = make(100)
    found.add(101)
    evictor.started()
    evictor.started()
    await asyncio.sleep(0)
    left = [float(each) for each in found.actors]
    assert left == [float(number) for number in range(STEP + 1, 101)]


async def test_while_all_are_busy_nobody_looks_at_them_again_before_the_next_tick(make) -> None:
    found, evictor = make(10)
    found.add(12)
    for actor in found.actors.values():
        actor.is_busy = True
    for _ in range(3):
        evictor.started()
        await asyncio.sleep(0)
    assert [actor.looks for actor in found.actors.values()] == [1] * 12
    found.actors["3.0"].is_busy = found.actors["7.0"].is_busy = False
    evictor.look()
    assert len(found.actors) == 10


async def test_more_objects_than_the_cap_are_all_served(bench: Bench) -> None:
    await bench.run(COUNTER)
    bench.host._evictor._open_max = 10
    for _ in range(2):
        for number in range(60):
            await bench.stub(f"one{number}").increment()
            assert len(bench.host.classes["app-Counter"].actors) <= 11
    assert await bench.stub("one0").increment() == 3


@pytest.mark.parametrize(
    ("files", "objects"), [(1024, 102), (4, 1), (resource.RLIM_INFINITY, 104857)]
)
def test_half_of_all_descriptors_are_for_objects(
    monkeypatch: pytest.MonkeyPatch, files: int, objects: int
) -> None:
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda kind: (files, files))
    assert descriptors.objects_allowed() == objects


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), [(4096, 4096)]),
        ((4096, 4096), []),
        ((256, resource.RLIM_INFINITY), [(1 << 20, resource.RLIM_INFINITY)]),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_a_server_takes_all_descriptors_that_it_may_have(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda kind, both: asked.append(both))
    descriptors.raise_descriptor_limit()
    assert asked == wanted


def test_a_limit_that_may_not_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, both: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda kind: (256, 4096))
    monkeypatch.setattr(descriptors.resource, "setrlimit", refuse)
    descriptors.raise_descriptor_limit()


async def test_when_no_descriptor_is_left_the_idlest_end_at_once(make) -> None:
    found, evictor = make(100)
    found.add(STEP + 3)
    assert evictor.make_room()
    assert sorted(map(float, found.actors)) == [STEP, STEP + 1, STEP + 2]
    for actor in found.actors.values():
        actor.is_busy = True
    assert not evictor.make_room()
