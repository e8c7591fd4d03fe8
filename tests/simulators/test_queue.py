"""Queues: sending, delivering, settling, and a model of at-least-once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_worker import Worker, cut_off, later, queue_of, settled
from ungated import make_resources

from dohost.clock import ManualClock
from dohost.errors import JsException, JsTypeError
from dohost.simulators.queue import WorkerQueue
from dohost.simulators.queue_batch import MessageBatch
from dohost.simulators.resources import Resources
from dohost.telemetry import Event


async def test_a_full_batch_goes_at_once_and_the_rest_after_the_timeout(
    resources: Resources, clock: ManualClock
) -> None:
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer()})
    await queue_of(resources).sendBatch([{"body": n} for n in (1, 2, 3)])
    await settled(resources)
    assert worker.batches == [[(1, 1), (2, 1)]]
    await later(resources, clock, 4.9)
    assert len(worker.batches) == 1
    await later(resources, clock, 0.1)
    assert worker.batches[1:] == [[(3, 1)]]
    assert (await queue_of(resources).metrics()).backlogCount == 0


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("json", {"a": [1, None]}, {"a": [1, None]}),
        ("text", "é", "é"),
        ("bytes", b"\x00\xff", b"\x00\xff"),
        ("v8", {"set": {1, 2}}, {"set": {1, 2}}),
    ],
)
async def test_bodies_keep_their_types(
    resources: Resources, content_type: str, body: object, seen: object
) -> None:
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
    await queue_of(resources).send(body, contentType=content_type)
    await settled(resources)
    assert worker.batches == [[(seen, 1)]]


async def test_a_handler_that_raises_gets_the_messages_again_but_for_acknowledged_ones(
    resources: Resources, clock: ManualClock
) -> None:
    def act(batch: MessageBatch) -> None:
        batch.messages[0].ack()
        if len(worker.batches) == 1:
            raise ValueError("no")

    worker = Worker(act)
    resources.queues.consume({"jobs": worker.consumer(retry_delay_s=10.0)})
    await queue_of(resources).sendBatch([{"body": "a"}, {"body": "b"}])
    await settled(resources)
    await later(resources, clock, 9.9)
    assert len(worker.batches) == 1
    await later(resources, clock, 5.1)
    assert worker.batches == [[("a", 1), ("b", 1)], [("b", 2)]]


async def test_after_its_retries_a_message_is_in_the_dead_letter_queue(
    tmp_path: Path, clock: ManualClock
) -> None:
    events: list[Event] = []
    resources = make_resources(tmp_path, clock, events)
    failing = Worker(lambda batch: batch.retryAll({"delaySeconds": 1}))
    dead = Worker()
    resources.queues.consume(
        {
            "jobs": failing.consumer(batch_timeout_s=0.0, dead_letter_queue="dead"),
            "dead": dead.consumer(batch_timeout_s=0.0),
        }
    )
    try:
        await queue_of(resources).send("x")
        await settled(resources)
        await later(resources, clock, 1)
    finally:
        await resources.close()
    assert failing.batches == [[("x", 1)], [("x", 2)]]
    assert dead.batches == [[("x", 1)]]
    given_up = [event.fields for event in events if event.name == "queue.message_given_up"]
    assert [fields["dead_letter_queue"] for fields in given_up] == ["dead"]


async def test_without_a_dead_letter_queue_a_message_is_dropped(
    resources: Resources, clock: ManualClock
) -> None:
    failing = Worker(lambda batch: batch.messages[0].retry())
    resources.queues.consume({"jobs": failing.consumer(batch_timeout_s=0.0, retries_max=0)})
    await queue_of(resources).send("x")
    await settled(resources)
    await later(resources, clock, 100)
    assert failing.batches == [[("x", 1)]]
    assert (await queue_of(resources).metrics()).backlogCount == 0


async def test_a_delayed_message_waits_by_its_own_its_batchs_or_its_queues_delay(
    resources: Resources, clock: ManualClock
) -> None:
    worker = Worker()
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
    queue = queue_of(resources, delay_s=30.0)
    await queue.send("queue's")
    await queue.sendBatch(
        [{"body": "own", "delaySeconds": 10}, {"body": "batch's"}], delaySeconds=20
    )
    for seconds, bodies in ((9.9, []), (0.1, ["own"]), (10, ["batch's"]), (10, ["queue's"])):
        worker.batches.clear()
        await later(resources, clock, seconds)
        assert [body for batch in worker.batches for body, _ in batch] == bodies


async def test_messages_wait_for_a_consumer_and_survive_a_restart(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    sent = await queue_of(resources).send("kept")
    assert sent.metadata.metrics.backlogCount == 1
    await resources.close()
    resources = make_resources(tmp_path, clock)
    worker = Worker()
    try:
        clock.advance(5)
        resources.queues.consume({"jobs": worker.consumer()})
        await settled(resources)
    finally:
        await resources.close()
    assert worker.batches == [[("kept", 1)]]


async def test_a_batch_that_was_cut_off_comes_again_as_a_second_attempt(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    await queue_of(resources).send("x")
    await cut_off(resources, "jobs")
    resources = make_resources(tmp_path, clock)
    worker = Worker()
    try:
        resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
        await settled(resources)
    finally:
        await resources.close()
    assert worker.batches == [[("x", 2)]]


DAY_S = 24 * 3600


async def test_what_nobody_takes_for_four_days_is_dropped_and_told(
    tmp_path: Path, clock: ManualClock
) -> None:
    events: list[Event] = []
    resources = make_resources(tmp_path, clock, events)
    worker = Worker()
    try:
        await queue_of(resources).send("old", delaySeconds=DAY_S)
        clock.advance(1)
        await queue_of(resources).send("young", delaySeconds=DAY_S)
        clock.advance(5 * DAY_S)
        resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
        await settled(resources)
    finally:
        await resources.close()
    assert worker.batches == [[("young", 1)]]
    expired = [event.fields for event in events if event.name == "queue.messages_expired"]
    assert expired == [{"queue": "jobs", "messages": 1}]


async def test_a_dead_letter_is_kept_for_four_days_from_its_arrival_also_over_a_crash(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    failing = Worker(lambda batch: batch.retryAll())
    options = {"batch_timeout_s": 0.0, "retries_max": 3, "retry_delay_s": float(DAY_S)}
    resources.queues.consume({"jobs": failing.consumer(dead_letter_queue="dead", **options)})
    await queue_of(resources).send("x", delaySeconds=DAY_S)
    for _ in range(4):
        await later(resources, clock, DAY_S)
    assert [attempts for ((_, attempts),) in failing.batches] == [1, 2, 3, 4]
    clock.advance(DAY_S)

    await cut_off(resources, "dead")
    resources = make_resources(tmp_path, clock, seed=2)
    dead = Worker()
    try:
        clock.advance(DAY_S)
        resources.queues.consume({"dead": dead.consumer(batch_timeout_s=0.0)})
        await settled(resources)
    finally:
        await resources.close()
    assert dead.batches == [[("x", 2)]]


async def test_a_message_that_an_older_file_holds_as_being_delivered_comes_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    await queue_of(resources).send("x")
    await resources.close()
    with sqlite3.connect(tmp_path / "v3" / "queues" / "queues.sqlite") as file:
        file.execute(f"UPDATE messages SET visible_ms = {2**53}")
    file.close()
    resources = make_resources(tmp_path, clock, seed=2)
    worker = Worker()
    try:
        resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
        await settled(resources)
    finally:
        await resources.close()
    assert worker.batches == [[("x", 1)]]


REFUSED = [
    (lambda q: q.send(), JsTypeError, "parameter 1 is not of type 'JsValue'"),
    (
        lambda q: q.send({"a": 1}, contentType="text"),
        JsTypeError,
        'Content Type "text" requires a value of type string, but received: object',
    ),
    (
        lambda q: q.send("x", {"contentType": "bytes"}),
        JsTypeError,
        'Content Type "bytes" requires a value of type ArrayBufferView, but received: string',
    ),
    (
        lambda q: q.send("x", contentType="zz"),
        JsTypeError,
        "Unsupported queue message content type: zz",
    ),
    (lambda q: q.send("x", delaySeconds=86_401), JsException, "message delay 86401 is invalid"),
    (lambda q: q.send("x", delaySeconds=-1), JsException, "message delay -1 is invalid"),
    (
        lambda q: q.send("x" * 128_001, contentType="text"),
        JsException,
        "message length of 128001 bytes exceeds limit of 128000",
    ),
    (lambda q: q.sendBatch([]), JsTypeError, "sendBatch() requires at least one message"),
    (
        lambda q: q.sendBatch([{"body": 1}] * 101),
        JsException,
        "batch message count of 101 exceeds limit of 100",
    ),
    (
        lambda q: q.sendBatch([{"body": "x" * 85_333, "contentType": "text"}] * 3 + [{"body": 12}]),
        JsException,
        "batch size of 256001 bytes exceeds limit of 256000",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
async def test_refusals(
    resources: Resources, call: Callable[[WorkerQueue], Awaitable[object]], kind, message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        await call(queue_of(resources))
    assert (await queue_of(resources).metrics()).backlogCount == 0


async def test_what_is_exactly_at_a_limit_passes(resources: Resources) -> None:
    queue = queue_of(resources)
    await queue.send("x" * 128_000, contentType="text", delaySeconds=86_400)
    await queue.sendBatch([{"body": "x" * 128_000, "contentType": "text"}] * 2)
    await queue.sendBatch([{"body": 1}] * 100)
    assert (await queue.metrics()).backlogCount == 103


async def test_a_batch_says_what_its_queue_held_when_it_began(resources: Resources) -> None:
    held: list[tuple[int, int]] = []

    def act(batch: MessageBatch) -> None:
        metrics = batch.metadata.metrics
        held.append((metrics.backlogCount, metrics.backlogBytes))

    worker = Worker(act)
    await queue_of(resources).sendBatch([{"body": "xé", "contentType": "text"}] * 3)
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0)})
    await settled(resources)
    assert held == [(3, 9), (1, 3)]


async def test_messages_of_a_file_without_counts_are_counted_when_it_is_opened(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    await queue_of(resources).send("x")
    await resources.close()
    with sqlite3.connect(tmp_path / "v3" / "queues" / "queues.sqlite") as file:
        file.executescript(
            "DROP TRIGGER added; DROP TRIGGER removed; DROP TRIGGER moved; DROP TABLE backlogs"
        )
    file.close()
    resources = make_resources(tmp_path, clock, seed=2)
    await queue_of(resources).send("yz")
    metrics = await queue_of(resources).metrics()
    await resources.close()
    assert (metrics.backlogCount, metrics.backlogBytes) == (2, 7)


VERDICTS = st.sampled_from(["ack", "retry", "raise", "nothing", "retry_all"])


@settings(max_examples=20, deadline=None)
@given(
    bodies=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    verdicts=st.lists(VERDICTS, max_size=12),
)
def test_every_message_is_delivered_until_it_is_acknowledged_or_given_up(
    bodies: list[int], verdicts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(follow(bodies, verdicts, tmp_path_factory.mktemp("queue")))


async def follow(bodies: list[int], verdicts: list[str], directory: Path) -> None:
    clock = ManualClock()
    resources = make_resources(directory, clock)
    seen: dict[str, list[int]] = {}
    open_messages: set[str] = set()

    def act(batch: MessageBatch) -> None:
        verdict = verdicts.pop() if verdicts else "nothing"
        for each in batch.messages:
            seen.setdefault(each.id, []).append(each.attempts)
            open_messages.add(each.id)
        first = batch.messages[0]
        done = {each.id for each in batch.messages}
        match verdict:
            case "ack":
                first.ack()
            case "retry":
                first.retry()
                done -= {first.id}
            case "retry_all":
                batch.retryAll()
                done = set()
            case "raise":
                raise ValueError("no")
        open_messages.difference_update(done)

    worker = Worker(act)
    resources.queues.consume({"jobs": worker.consumer(batch_timeout_s=0.0, retries_max=2)})
    try:
        await queue_of(resources).sendBatch([{"body": body} for body in bodies])
        await settled(resources)
        left = (await queue_of(resources).metrics()).backlogCount
    finally:
        await resources.close()
    assert left == 0
    assert len(seen) == len(bodies)
    for message_id, attempts in seen.items():
        assert attempts == list(range(1, len(attempts) + 1))
        assert len(attempts) <= 3
        assert message_id not in open_messages or len(attempts) == 3
