"""A batch as the `queue` handler of a consumer sees it, and what the handler decided.

What a message says of itself (`ack`, `retry`) goes before what the batch says (`ackAll`, `retryAll`), the
first word about either counts, and only what nobody spoke of depends on how the handler ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from workers.values import JsDict

from dohost.simulators.queue_messages import DELAY_MAX_S, Backlog, Delivery
from dohost.simulators.text import Options, options_of, whole_number
from dohost.simulators.times import date_of


class Message:
    """One message; `attempts` is 1 at its first delivery, `timestamp` when it was sent (naive, UTC)."""

    def __init__(self, delivery: Delivery, verdicts: Verdicts) -> None:
        self.id = delivery.id
        self.timestamp = date_of(delivery.sent_ms)
        self.body = delivery.value()
        self.attempts = delivery.attempts
        self._verdicts = verdicts

    def ack(self) -> None:
        """Never deliver this message again, whatever becomes of the batch."""
        self._verdicts.ack(self.id)

    def retry(self, options: object = None, /, **named: object) -> None:
        """Deliver this message again, after `delaySeconds`."""
        self._verdicts.retry(self.id, _delay(options_of(options, named)))

    def __repr__(self) -> str:
        return f"<Message {self.id}, attempt {self.attempts}>"


class MessageBatch:
    """The messages of one delivery; `metadata.metrics` says what the queue held when it began."""

    def __init__(
        self, queue: str, deliveries: Sequence[Delivery], verdicts: Verdicts, *, backlog: Backlog
    ) -> None:
        self.queue = queue
        self.metadata = JsDict(metrics=backlog.metrics())
        self.messages = [Message(delivery, verdicts) for delivery in deliveries]
        self._verdicts = verdicts

    def ackAll(self) -> None:
        """Never deliver any of these messages again."""
        self._verdicts.ack_all()

    def retryAll(self, options: object = None, /, **named: object) -> None:
        """Deliver all of these messages again, after `delaySeconds`."""
        self._verdicts.retry_all(_delay(options_of(options, named)))

    def __repr__(self) -> str:
        return f"<MessageBatch of {self.queue}, {len(self.messages)} messages>"


class Verdicts:
    """What a handler said about the messages of its batch."""

    def __init__(self) -> None:
        self._acked: set[str] = set()
        self._retried: dict[str, int | None] = {}
        self._is_all_acked = False
        self._is_all_retried = False
        self._all_delay_s: int | None = None

    def ack(self, message_id: str) -> None:
        if not self._is_all_acked and not self._is_all_retried and message_id not in self._retried:
            self._acked.add(message_id)

    def retry(self, message_id: str, delay_s: int | None) -> None:
        if not self._is_all_acked and message_id not in self._acked:
            self._retried[message_id] = delay_s

    def ack_all(self) -> None:
        self._is_all_acked = not self._is_all_retried

    def retry_all(self, delay_s: int | None) -> None:
        if not self._is_all_acked:
            self._is_all_retried = True
            self._all_delay_s = delay_s

    def is_acknowledged(self, message_id: str, *, has_failed: bool) -> bool:
        """Whether a message is done; `has_failed` says that the handler raised."""
        if message_id in self._acked:
            return True
        if message_id in self._retried or self._is_all_retried:
            return False
        return self._is_all_acked or not has_failed

    def delay_s(self, message_id: str, default_s: float) -> float:
        """Return how long a message waits before it is delivered again."""
        own = self._retried.get(message_id)
        delay_s = self._all_delay_s if own is None else own
        return default_s if delay_s is None else delay_s


def _delay(options: Options) -> int | None:
    given = options.get("delaySeconds")
    return None if given is None else min(max(whole_number(given), 0), DELAY_MAX_S)
