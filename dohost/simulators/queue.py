"""A queue as its producers hold it: `await env.QUEUE.send({"job": 1}, delaySeconds=10)`.

The awaitable is done when the message is on the disk. Sending waits for the output gate of the object that
sends: no message speaks of a write that may be lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from workers.values import JsDict

from dohost.clock import Clock, Entropy
from dohost.errors import JsException, JsTypeError
from dohost.simulators.failures import telling
from dohost.simulators.outlet import Outlet
from dohost.simulators.queue_messages import (
    ContentType,
    NewMessage,
    body_of,
    check_batch,
    check_message,
    content_type_of,
    delay_of,
)
from dohost.simulators.queue_store import QueueStore
from dohost.simulators.text import Options, options_of
from dohost.storage.arguments import UNDEFINED


class WorkerQueue:
    """The producing side of one queue; `added` is told of each send when it is durable."""

    def __init__(
        self,
        store: QueueStore,
        queue: str,
        *,
        outlet: Outlet,
        clock: Clock,
        entropy: Entropy,
        added: Callable[[str], None],
        delay_s: float,
        content_type: ContentType,
    ) -> None:
        self._store = store
        self._queue = queue
        self._outlet = outlet
        self._clock = clock
        self._entropy = entropy
        self._added = added
        self._delay_s = delay_s
        self._content_type = content_type

    def send(
        self, body: object = UNDEFINED, options: object = None, /, **named: object
    ) -> Awaitable[JsDict]:
        """Send one message; `contentType` and `delaySeconds` are options."""
        if body is UNDEFINED:
            raise JsTypeError(
                "Failed to execute 'send' on 'WorkerQueue': parameter 1 is not of type 'JsValue'."
            )
        message = self._message(body, options_of(options, named), self._delay_s)
        check_message(message)
        return self._send("send", [message])

    def sendBatch(
        self, messages: Iterable[object], options: object = None, /, **named: object
    ) -> Awaitable[JsDict]:
        """Send messages, each an object with `body` and options of its own, all of them or none."""
        delay_s = delay_of(options_of(options, named), self._delay_s)
        batch = [self._item(each, delay_s) for each in messages]
        check_batch(batch)
        return self._send("sendBatch", batch)

    def metrics(self) -> Awaitable[JsDict]:
        """Give the number, the bytes and the oldest of the messages that wait."""
        return self._outlet.read(telling(self._metrics, partial(_failed, "metrics")))

    def __repr__(self) -> str:
        return f"<WorkerQueue {self._queue}>"

    def _item(self, item: object, delay_s: float) -> NewMessage:
        if not isinstance(item, Mapping) or "body" not in item:
            raise JsTypeError('sendBatch() takes objects with a "body".')
        return self._message(item["body"], item, delay_s)

    def _message(self, body: object, options: Options, delay_s: float) -> NewMessage:
        content_type = content_type_of(options, self._content_type)
        return NewMessage(
            id=self._entropy.token(16).hex(),
            content_type=content_type,
            body=body_of(body, content_type),
            delay_s=delay_of(options, delay_s),
        )

    def _send(self, operation: str, messages: Sequence[NewMessage]) -> Awaitable[JsDict]:
        return self._outlet.write(telling(lambda: self._add(messages), partial(_failed, operation)))

    async def _add(self, messages: Sequence[NewMessage]) -> JsDict:
        now_ms = self._clock.realtime_ns() // 1_000_000
        backlog = await self._store.add(self._queue, messages, now_ms=now_ms)
        self._added(self._queue)
        return JsDict(metadata=JsDict(metrics=backlog.metrics()))

    async def _metrics(self) -> JsDict:
        backlog = await self._store.backlog(self._queue)
        return backlog.metrics()


def _failed(operation: str, status: int, reason: str) -> JsException:
    return JsException(f"Queue {operation} failed: {reason}")
