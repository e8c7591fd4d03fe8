"""One consumed queue: which batch goes out when, and how many are out at a time.

A batch goes out when it is full, or when its oldest message has waited for the batch timeout. How many
may be out at once grows by one with each batch whose handler ended well, up to `concurrency_max`, and
falls back to one when a handler raises: a queue that fails, or whose consumer has just ended the process,
is tried with one batch. What a handler did not settle comes again after a delay, `retries_max` times, then
it goes to the dead letter queue or, without one, is dropped; both are logged.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import msgspec

from dohost.clock import Clock
from dohost.simulators.queue_batch import MessageBatch, Verdicts
from dohost.simulators.queue_messages import Backlog, Delivery
from dohost.simulators.queue_store import QueueStore, Settlement
from dohost.telemetry import Log

# Timers follow the monotonic clock; looking again this often bounds what a stepped wall clock costs.
SLEEP_MAX_S = 30.0
# How long after the disk has failed it is asked again: a queue goes on soon after there is room.
RETRY_S = 2.0
# Cloudflare's limit of a consumer's invocation; a handler that never ends would keep its messages.
HANDLER_TIMEOUT_S = 15 * 60.0


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue is consumed, and by what: `handle` raises what the handler raised."""

    handle: Callable[[MessageBatch], Awaitable[None]]
    batch_size_max: int
    batch_timeout_s: float
    retries_max: int
    concurrency_max: int = 1
    retry_delay_s: float = 0.0
    dead_letter_queue: str | None = None


class ConsumedQueue:
    """A queue, who consumes it (None: nobody, any more), and the batches of it that are out.

    `look_at` is told of a queue that got messages: a dead letter queue.
    """

    def __init__(
        self,
        name: str,
        store: QueueStore,
        *,
        clock: Clock,
        log: Log,
        look_at: Callable[[str], None],
    ) -> None:
        self.consumer: Consumer | None = None
        self._name = name
        self._store = store
        self._clock = clock
        self._log = log
        self._look_at = look_at
        self._allowed = 1
        self._batches: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looks_again = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> Sequence[asyncio.Task[None]]:
        """What looks at this queue or is delivering now."""
        return [*self._batches, *([] if self._looking is None else [self._looking])]

    def look(self) -> None:
        """See whether there is a batch to deliver."""
        if self.consumer is None:
            return
        if self._looking is not None:
            self._looks_again = True
            return
        self._cancel_wake()
        self._looking = _start(self._deliver_what_is_due())
        self._looking.add_done_callback(self._looked)

    def abandon(self) -> None:
        """Start no more batches."""
        self.consumer = None
        self._cancel_wake()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.event("queue.failed", level="error", queue=self._name, error=repr(error))
            self._wake_after(RETRY_S)
        elif self._looks_again:
            self._looks_again = False
            self.look()

    async def _deliver_what_is_due(self) -> None:
        """Start the batches that are due and allowed; then sleep until another is due."""
        while (consumer := self.consumer) is not None and len(self._batches) < self._allowed:
            self._looks_again = False
            now_ms, size = self._now_ms(), consumer.batch_size_max
            state = await self._store.readiness(self._name, now_ms=now_ms, limit=size)
            if state.first_ms is None:
                return
            due_ms = state.first_ms
            if state.ready < size:
                due_ms += round(consumer.batch_timeout_s * 1000)
            if due_ms > now_ms:
                self._wake_after((due_ms - now_ms) / 1000)
                return
            backlog = await self._store.backlog(self._name)
            taken = await self._store.take(self._name, now_ms=now_ms, limit=size)
            if taken.expired:
                self._log.event(
                    "queue.messages_expired", level="warn", queue=self._name, messages=taken.expired
                )
            if taken.deliveries:
                batch = _start(self._deliver(consumer, taken.deliveries, backlog))
                self._batches.add(batch)
                batch.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if not task.cancelled():
            task.result()  # `_deliver` raises nothing but for a mistake of ours
            self.look()

    async def _deliver(
        self, consumer: Consumer, deliveries: Sequence[Delivery], backlog: Backlog
    ) -> None:
        verdicts = Verdicts()
        failure: Exception | None = None
        try:
            batch = MessageBatch(self._name, deliveries, verdicts, backlog=backlog)
            async with asyncio.timeout(HANDLER_TIMEOUT_S):
                await consumer.handle(batch)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is retried
            failure = error
            self._log.event(
                "queue.handler_failed",
                level="error",
                queue=self._name,
                error=str(error) or type(error).__name__,
            )
        self._allowed = min(self._allowed + 1, consumer.concurrency_max) if failure is None else 1
        settlement = settle(
            deliveries, verdicts, consumer, has_failed=failure is not None, now_ms=self._now_ms()
        )
        await self._write_down(settlement, consumer)
        for message_id in settlement.given_up:
            self._log.event(
                "queue.message_given_up",
                level="warn",
                queue=self._name,
                message_id=message_id,
                dead_letter_queue=consumer.dead_letter_queue,
            )
        self._log.event(
            "queue.batch",
            queue=self._name,
            messages=len(deliveries),
            acknowledged=len(settlement.acknowledged),
        )
        if settlement.given_up and consumer.dead_letter_queue is not None:
            self._look_at(consumer.dead_letter_queue)

    async def _write_down(self, settlement: Settlement, consumer: Consumer) -> None:
        """Settle a batch; while the disk refuses, its messages stay out and it is tried again."""
        while True:
            try:
                await self._store.settle(
                    settlement,
                    now_ms=self._now_ms(),
                    dead_letter_queue=consumer.dead_letter_queue,
                )
            except Exception as error:  # noqa: BLE001 - a full disk, say; what was decided stays so
                self._log.event("queue.failed", level="error", queue=self._name, error=repr(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _wake_after(self, seconds: float) -> None:
        self._cancel_wake()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(seconds, SLEEP_MAX_S), self.look)

    def _cancel_wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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


def _start(coro: Coroutine[object, object, None]) -> asyncio.Task[None]:
    # In a clean context and not by the loop's task factory: whoever sent a message has no part in it.
    loop = asyncio.get_running_loop()
    return asyncio.Task(coro, loop=loop, context=contextvars.Context())
