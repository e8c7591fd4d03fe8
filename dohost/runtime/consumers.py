"""Which worker's `queue` handler takes the batches of which queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from dohost.config import QueueConsumer
from dohost.runtime.worker import Generation
from dohost.simulators.queue_batch import MessageBatch
from dohost.simulators.queue_consumer import Consumer

# Cloudflare's defaults.
BATCH_SIZE_MAX = 10
BATCH_TIMEOUT_S = 5.0
RETRIES_MAX = 3
CONCURRENCY_MAX = 250

Number = TypeVar("Number", int, float)


def consumers_of(generations: Iterable[Generation]) -> dict[str, Consumer]:
    """Return the consumers of these workers, by queue."""
    return {
        consumer.queue: _consumer(consumer, generation)
        for generation in generations
        for consumer in generation.config.queue_consumers
    }


def consumer_problems(generations: Iterable[Generation]) -> list[str]:
    """Return a message for each queue that has more than one consumer."""
    owners: dict[str, list[str]] = {}
    for generation in generations:
        for consumer in generation.config.queue_consumers:
            owners.setdefault(consumer.queue, []).append(generation.config.name)
    return [
        f'The queue "{queue}" has more than one consumer: {", ".join(names)}.'
        for queue, names in owners.items()
        if len(names) > 1
    ]


def _consumer(consumer: QueueConsumer, generation: Generation) -> Consumer:
    return Consumer(
        handle=partial(_handle, generation),
        batch_size_max=_or(consumer.max_batch_size, BATCH_SIZE_MAX),
        batch_timeout_s=_or(consumer.max_batch_timeout, BATCH_TIMEOUT_S),
        retries_max=_or(consumer.max_retries, RETRIES_MAX),
        concurrency_max=_or(consumer.max_concurrency, CONCURRENCY_MAX),
        retry_delay_s=consumer.retry_delay or 0.0,
        dead_letter_queue=consumer.dead_letter_queue,
    )


def _or(given: Number | None, default: Number) -> Number:
    return default if given is None else given


async def _handle(generation: Generation, batch: MessageBatch) -> None:
    coro = generation.handle("queue", batch)
    loop = asyncio.get_running_loop()
    await asyncio.Task(coro, loop=loop, context=generation.context.copy())
