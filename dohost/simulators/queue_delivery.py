"""Delivering what waits in queues to their consumers.

A batch goes out when it is full, or when its oldest message has waited for the batch timeout. One batch of
a queue is out at a time. What its handler did not settle comes again after a delay, `retries_max` times,
then it goes to the dead letter queue or, without one, is dropped; both are logged.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from dohost.clock import Clock
from dohost.simulators.queue_batch import MessageBatch, Verdicts
from dohost.simulators.queue_messages import Delivery
from dohost.simulators.queue_store import QueueStore, Settlement
from dohost.telemetry import Log

# Timers follow the monotonic clock; looking again this often bounds what a stepped wall clock costs.
SLEEP_MAX_S = 30.0


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue is consumed, and by what: `handle` raises what the handler raised."""

    handle: Callable[[MessageBatch], Awaitable[None]]
    batch_size_max: int
    batch_timeout_s: float
    retries_max: int
    retry_delay_s: float = 0.0
    dead_letter_queue: str | None = None


class QueueDelivery:
    """The consumers of a host and the batches that are out."""

    def __init__(
        self,
        store: QueueStore,
        *,
        clock: Clock,
        log: Log,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._consumers: Mapping[str, Consumer] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def consume(self, consumers: Mapping[str, Consumer]) -> None:
        """Deliver to these consumers from now on, beginning with what waits."""
        self._consumers = consumers
        self.poll()

    def poll(self) -> None:
        """Look at every consumed queue."""
        for queue in self._consumers:
            self.look(queue)

    def look(self, queue: str) -> None:
        """See whether a queue has a batch to deliver."""
        if queue not in self._consumers:
            return
        if queue in self._running:
            self._again.add(queue)
            return
        timer = self._timers.pop(queue, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        # In a clean context and not by the loop's task factory: whoever sent a message has no part in it.
        task = asyncio.Task(self._work(queue), loop=loop, context=contextvars.Context())
        self._running[queue] = task
        task.add_done_callback(lambda task: self._worked(queue, task))

    async def stop(self, grace_s: float) -> None:
        """Start no more batches; give those that are out some time. What is unsettled comes again."""
        self._consumers = {}
        for timer in self._timers.values():
            timer.cancel()
        if self._running:
            _, late = await asyncio.wait(tuple(self._running.values()), timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    @property
    def running(self) -> Sequence[asyncio.Task[None]]:
        """What looks at a queue or is delivering now."""
        return tuple(self._running.values())

    def _worked(self, queue: str, task: asyncio.Task[None]) -> None:
        del self._running[queue]
        if not task.cancelled() and task.exception() is not None:
            self._log.event(
                "queue.failed", level="error", queue=queue, error=repr(task.exception())
            )
            self._sleep(queue, SLEEP_MAX_S)
        elif queue in self._again:
            self._again.discard(queue)
            self.look(queue)

    async def _work(self, queue: str) -> None:
        """Deliver what is due; then sleep until more is."""
        while (consumer := self._consumers.get(queue)) is not None:
            self._again.discard(queue)
            now_ms = self._now_ms()
            size = consumer.batch_size_max
            state = await self._store.readiness(queue, now_ms=now_ms, limit=size)
            if state.first_ms is None:
                return
            due_ms = state.first_ms
            if state.ready < size:
                due_ms += round(consumer.batch_timeout_s * 1000)
            if due_ms > now_ms:
                self._sleep(queue, (due_ms - now_ms) / 1000)
                return
            deliveries = await self._store.take(queue, now_ms=now_ms, limit=size)
            if deliveries:
                await self._deliver(queue, consumer, deliveries)

    async def _deliver(
        self, queue: str, consumer: Consumer, deliveries: Sequence[Delivery]
    ) -> None:
        verdicts = Verdicts()
        failure: Exception | None = None
        try:
            await consumer.handle(MessageBatch(queue, deliveries, verdicts))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is retried
            failure = error
            self._log.event("queue.handler_failed", level="error", queue=queue, error=str(error))
        settlement = settle(
            deliveries, verdicts, consumer, has_failed=failure is not None, now_ms=self._now_ms()
        )
        for message_id in settlement.given_up:
            self._log.event(
                "queue.message_given_up",
                level="warn",
                queue=queue,
                message_id=message_id,
                dead_letter_queue=consumer.dead_letter_queue,
            )
        await self._store.settle(settlement, dead_letter_queue=consumer.dead_letter_queue)
        self._log.event(
            "queue.batch",
            queue=queue,
            messages=len(deliveries),
            acknowledged=len(settlement.acknowledged),
        )
        if settlement.given_up and consumer.dead_letter_queue is not None:
            self.look(consumer.dead_letter_queue)

    def _sleep(self, queue: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[queue] = loop.call_later(min(seconds, SLEEP_MAX_S), self.look, queue)

    def _now_ms(self) -> int:
        return self._clock.realtime_ns() // 1_000_000


def settle(
    deliveries: Sequence[Delivery],
    verdicts: Verdicts,
    consumer: Consumer,
    *,
    has_failed: bool,
    now_ms: int,
) -> Settlement:
    """Return what becomes of each message of a batch."""
    acknowledged: list[str] = []
    again: list[tuple[str, int]] = []
    given_up: list[str] = []
    for each in deliveries:
        if verdicts.is_acknowledged(each.id, has_failed=has_failed):
            acknowledged.append(each.id)
        elif each.attempts > consumer.retries_max:
            given_up.append(each.id)
        else:
            delay_s = verdicts.delay_s(each.id, consumer.retry_delay_s)
            again.append((each.id, now_ms + round(delay_s * 1000)))
    return Settlement(
        acknowledged=tuple(acknowledged), again=tuple(again), given_up=tuple(given_up)
    )
