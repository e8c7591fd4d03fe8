"""A consumer that writes down what it is given, and waiting for queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dohost.clock import ManualClock
from dohost.simulators.queue import WorkerQueue
from dohost.simulators.queue_batch import MessageBatch
from dohost.simulators.queue_consumer import Consumer
from dohost.simulators.resources import Resources

Handler = Callable[[MessageBatch], None]


class Worker:
    """A consumer that writes down what it was given and then does what the test says."""

    def __init__(self, act: Handler = lambda batch: None) -> None:
        self.act = act
        self.batches: list[list[tuple[object, int]]] = []

    async def handle(self, batch: MessageBatch) -> None:
        self.batches.append([(each.body, each.attempts) for each in batch.messages])
        self.act(batch)

    def consumer(self, **options: object) -> Consumer:
        defaults = {"batch_size_max": 2, "batch_timeout_s": 5.0, "retries_max": 1}
        return Consumer(handle=self.handle, **{**defaults, **options})


async def cut_off(resources: Resources, queue: str) -> None:
    """End everything while a handler has a batch of `queue`, as at a crash."""
    began = asyncio.Event()

    async def hang(batch: MessageBatch) -> None:
        began.set()
        await asyncio.Event().wait()

    consumer = Consumer(handle=hang, batch_size_max=1, batch_timeout_s=0.0, retries_max=3)
    resources.queues.consume({queue: consumer})
    await began.wait()
    await resources.queues.stop(grace_s=0.05)
    await resources.close()


def queue_of(resources: Resources, name: str = "jobs", **options: object) -> WorkerQueue:
    return resources.queue(name, **{"delay_s": 0.0, "content_type": "json", **options})


async def settled(resources: Resources) -> None:
    """Wait until no queue is being looked at."""
    while resources.queues.running:
        await asyncio.wait(resources.queues.running)
        await asyncio.sleep(0)


async def later(resources: Resources, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    resources.queues.poll()
    await settled(resources)
