"""Delivering what waits in queues to their consumers: all the consumed queues of a host.

`queue_consumer` knows one queue; this keeps them over reloads, so that batches which are out count also
when the next consumer takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dohost.clock import Clock
from dohost.simulators.queue_consumer import ConsumedQueue, Consumer
from dohost.simulators.queue_store import QueueStore
from dohost.telemetry import Log


class QueueDelivery:
    """The consumers of a host and the batches that are out."""

    def __init__(self, store: QueueStore, *, clock: Clock, log: Log) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._queues: dict[str, ConsumedQueue] = {}

    def consume(self, consumers: Mapping[str, Consumer]) -> None:
        """Deliver to these consumers from now on, beginning with what waits."""
        for name, queue in self._queues.items():
            if name not in consumers:
                queue.abandon()
        for name, consumer in consumers.items():
            if name not in self._queues:
                self._queues[name] = self._queue(name)
            self._queues[name].consumer = consumer
        self.poll()

    def poll(self) -> None:
        """Look at every consumed queue."""
        for queue in self._queues.values():
            queue.look()

    def look(self, name: str) -> None:
        """See whether a queue has a batch to deliver."""
        queue = self._queues.get(name)
        if queue is not None:
            queue.look()

    async def stop(self, grace_s: float) -> None:
        """Start no more batches; give those that are out some time.

        What is unsettled comes again when the file is opened the next time.
        """
        for queue in self._queues.values():
            queue.abandon()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while (running := self.running) and loop.time() < deadline:
            await asyncio.wait(running, timeout=deadline - loop.time())
        # Whoever was looking may have sent a last batch out.
        while running := self.running:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    @property
    def running(self) -> Sequence[asyncio.Task[None]]:
        """What looks at a queue or is delivering now."""
        return [task for queue in self._queues.values() for task in queue.running]

    def _queue(self, name: str) -> ConsumedQueue:
        return ConsumedQueue(name, self._store, clock=self._clock, log=self._log, look_at=self.look)
