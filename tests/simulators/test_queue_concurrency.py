"""How many batches of a queue are out at a time, and what a batch holds until it has ended."""

from __future__ import annotations

import asyncio

import pytest
from queue_worker import Worker, later, queue_of, settled

from dohost.clock import ManualClock
from dohost.simulators.queue_batch import MessageBatch
from dohost.simulators.queue_consumer import Consumer
from dohost.simulators.queue_store import QueueStore
from dohost.simulators.resources import Resources


class Crowd:
    """A consumer whose batches end when the test says so, and that counts those which are out."""

    def __init__(self) -> None:
        self.out: list[tuple[list[object], asyncio.Event]] = []
        self.most = 0
        self.is_failing = False

    async def handle(self, batch: MessageBatch) -> None:
        end = asyncio.Event()
        self.out.append(([each.body for each in batch.messages], end))
        self.most = max(self.most, len(self.out))
        await end.wait()
        self.out = [each for each in self.out if each[1] is not end]
        if self.is_failing:
            raise ValueError("no")

    def bodies(self) -> list[object]:
        return [body for bodies, _ in self.out for body in bodies]

    async def end_first(self, resources: Resources) -> None:
        """Let the oldest batch end, and wait for what follows from that."""
        ended = self.out[0][1]
        ended.set()
        while any(end is ended for _, end in self.out):
            await asyncio.sleep(0)
        await quiet(resources, self)


async def quiet(resources: Resources, *crowds: Crowd) -> None:
    """Wait until nobody looks at a queue: whatever may be out is out."""
    while len(resources.queues.running) != sum(len(crowd.out) for crowd in crowds):
        await asyncio.sleep(0)


def crowd_consumer(crowd: Crowd, **options: object) -> Consumer:
    defaults = {"batch_size_max": 1, "batch_timeout_s": 0.0, "retries_max": 3}
    return Consumer(handle=crowd.handle, **{**defaults, **options})


async def test_batches_out_at_a_time_grow_by_one_with_each_that_ends_well_up_to_the_maximum(
    resources: Resources,
) -> None:
    crowd = Crowd()
    resources.queues.consume({"jobs": crowd_consumer(crowd, concurrency_max=3)})
    await queue_of(resources).sendBatch([{"body": n} for n in range(12)])
    await quiet(resources, crowd)
    out = []
    for _ in range(4):
        out.append(crowd.bodies())
        await crowd.end_first(resources)
    assert out == [[0], [1, 2], [2, 3, 4], [3, 4, 5]]
    while crowd.out:
        await crowd.end_first(resources)
    assert crowd.most == 3
    assert (await queue_of(resources).metrics()).backlogCount == 0


async def test_after_a_handler_raised_one_batch_is_out_at_a_time_again(
    resources: Resources,
) -> None:
    crowd = Crowd()
    resources.queues.consume({"jobs": crowd_consumer(crowd, concurrency_max=2)})
    await queue_of(resources).sendBatch([{"body": n} for n in range(6)])
    await quiet(resources, crowd)
    await crowd.end_first(resources)
    assert crowd.bodies() == [1, 2]
    crowd.is_failing = True
    await crowd.end_first(resources)
    crowd.is_failing = False
    assert crowd.bodies() == [2]
    while crowd.out:
        await crowd.end_first(resources)
    assert (await queue_of(resources).metrics()).backlogCount == 0


async def test_a_reload_starts_no_batch_beside_those_that_are_out(resources: Resources) -> None:
    old, new = Crowd(), Crowd()
    resources.queues.consume({"jobs": crowd_consumer(old)})
    await queue_of(resources).sendBatch([{"body": 1}, {"body": 2}])
    await quiet(resources, old, new)
    resources.queues.consume({"jobs": crowd_consumer(new)})
    await quiet(resources, old, new)
    assert (old.bodies(), new.bodies()) == ([1], [])
    old.out[0][1].set()
    while old.out or not new.out:
        await asyncio.sleep(0)
    assert new.bodies() == [2]
    await new.end_first(resources)


async def test_a_queue_that_is_consumed_no_more_keeps_its_messages(
    resources: Resources, clock: ManualClock
) -> None:
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer()})
    await queue_of(resources).send("kept")
    await settled(resources)
    resources.queues.consume({})
    await later(resources, clock, 100)
    assert worker.batches == []
    assert (await queue_of(resources).metrics()).backlogCount == 1


async def test_a_handler_that_never_ends_is_given_up_and_its_batch_comes_again(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.simulators.queue_consumer.HANDLER_TIMEOUT_S", 0.01)
    attempts: list[int] = []

    async def hang_once(batch: MessageBatch) -> None:
        attempts.append(batch.messages[0].attempts)
        if len(attempts) == 1:
            await asyncio.Event().wait()

    consumer = Consumer(handle=hang_once, batch_size_max=1, batch_timeout_s=0.0, retries_max=1)
    resources.queues.consume({"jobs": consumer})
    await queue_of(resources).send("x")
    await settled(resources)
    assert attempts == [1, 2]


async def test_what_a_handler_decided_is_written_down_when_the_disk_takes_it_again(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.simulators.queue_consumer.RETRY_S", 0.01)
    settle, failures = QueueStore.settle, iter([OSError("full"), OSError("full")])

    async def fail_twice(*args: object, **named: object) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        await settle(*args, **named)

    monkeypatch.setattr(QueueStore, "settle", fail_twice)
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
    await queue_of(resources).send("x")
    await settled(resources)
    assert worker.batches == [[("x", 1)]]
    assert (await queue_of(resources).metrics()).backlogCount == 0


async def test_a_queue_that_could_not_be_looked_at_is_looked_at_again_soon(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.simulators.queue_consumer.RETRY_S", 0.01)
    take, failures = QueueStore.take, iter([OSError("full")])

    async def fail_once(*args: object, **named: object) -> object:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await take(*args, **named)

    monkeypatch.setattr(QueueStore, "take", fail_once)
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
    await queue_of(resources).send("x")
    async with asyncio.timeout(5):
        while not worker.batches:
            await asyncio.sleep(0.01)
