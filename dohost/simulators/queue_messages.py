"""Messages of queues: what may be sent, and how a body is kept.

A body keeps its content type: "json" and "text" are text in the file, "bytes" a BLOB, and "v8" (any value
that crosses a call) the readable encoding of objects' storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from workers.values import ArrayBuffer, JsDict

from dohost.errors import JsException, JsTypeError
from dohost.simulators.text import Options, json_text, parse_json, well_formed, whole_number
from dohost.simulators.times import date_of
from dohost.storage.values import decode, encode

MESSAGE_BYTES_MAX = 128_000
BATCH_MESSAGES_MAX = 100
BATCH_BYTES_MAX = 256_000
DELAY_MAX_S = 86_400

ContentType: TypeAlias = Literal["json", "text", "bytes", "v8"]
_CONTENT_TYPES: dict[object, ContentType] = {
    "json": "json",
    "text": "text",
    "bytes": "bytes",
    "v8": "v8",
}


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way in."""

    id: str
    content_type: ContentType
    body: str | bytes
    delay_s: float

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else len(self.body.encode())


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way out; `attempts` counts this one."""

    id: str
    sent_ms: int
    attempts: int
    content_type: str
    body: str | bytes

    def value(self) -> object:
        """Return the body as the consumer sees it."""
        match self.content_type:
            case "text":
                return self.body
            case "bytes":
                assert isinstance(self.body, bytes)
                return ArrayBuffer(self.body)
            case "json":
                assert isinstance(self.body, str)
                return parse_json(self.body)
            case _:
                return decode(self.body)


class Backlog(msgspec.Struct, frozen=True):
    """What a queue holds, also what is being delivered; `oldest_ms` is when its oldest message was sent."""

    count: int
    size: int
    oldest_ms: int | None

    def metrics(self) -> JsDict:
        """Return it as programs see it."""
        oldest = self.oldest_ms
        return JsDict(
            backlogCount=self.count,
            backlogBytes=self.size,
            oldestMessageTimestamp=None if oldest is None else date_of(oldest),
        )


def content_type_of(options: Options, default: ContentType) -> ContentType:
    """Return the content type that a message asks for. Raises: JsTypeError."""
    wanted = options.get("contentType")
    if wanted is None:
        return default
    known = _CONTENT_TYPES.get(wanted) if isinstance(wanted, str) else None
    if known is None:
        raise JsTypeError(f"Unsupported queue message content type: {wanted}")
    return known


def body_of(body: object, content_type: ContentType) -> str | bytes:
    """Return a body as it is kept. Raises: JsTypeError, and what the copy rule refuses."""
    match content_type:
        case "json":
            return json_text(body)
        case "v8":
            return encode(body)
        case "text":
            if not isinstance(body, str):
                raise _wrong_body("text", "string", body)
            return well_formed(body)
        case "bytes":
            if not isinstance(body, bytes | memoryview):
                raise _wrong_body("bytes", "ArrayBufferView", body)
            return bytes(body)


def delay_of(options: Options, default_s: float) -> float:
    """Return the seconds for which a message is held back. Raises: JsException."""
    given = options.get("delaySeconds")
    if given is None:
        return default_s
    delay_s = whole_number(given)
    if not 0 <= delay_s <= DELAY_MAX_S:
        raise JsException(
            f"Queue send failed: message delay {given} is invalid: it must be from 0 to "
            f"{DELAY_MAX_S} seconds."
        )
    return delay_s


def check_message(message: NewMessage) -> None:
    """Raises: JsException for a message that is too long."""
    if message.size > MESSAGE_BYTES_MAX:
        raise JsException(
            f"Queue send failed: message length of {message.size} bytes exceeds limit of "
            f"{MESSAGE_BYTES_MAX}"
        )


def check_batch(messages: Sequence[NewMessage]) -> None:
    """Raises: JsTypeError for an empty batch, JsException for one that is too big."""
    if not messages:
        raise JsTypeError("sendBatch() requires at least one message")
    if len(messages) > BATCH_MESSAGES_MAX:
        raise JsException(
            f"Queue sendBatch failed: batch message count of {len(messages)} exceeds limit of "
            f"{BATCH_MESSAGES_MAX}"
        )
    largest = max(message.size for message in messages)
    if largest > MESSAGE_BYTES_MAX:
        raise JsException(
            f"Queue sendBatch failed: message in batch has length {largest} bytes which exceeds "
            f"single message size limit of {MESSAGE_BYTES_MAX}"
        )
    total = sum(message.size for message in messages)
    if total > BATCH_BYTES_MAX:
        raise JsException(
            f"Queue sendBatch failed: batch size of {total} bytes exceeds limit of "
            f"{BATCH_BYTES_MAX}"
        )


def _wrong_body(content_type: str, wanted: str, body: object) -> JsTypeError:
    match body:
        case str():
            kind = "string"
        case bool():
            kind = "boolean"
        case int() | float():
            kind = "number"
        case _:
            kind = "object"
    return JsTypeError(
        f'Content Type "{content_type}" requires a value of type {wanted}, but received: {kind}'
    )
