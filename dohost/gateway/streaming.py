"""An async generator as an HTTP body: server-sent events or newline-delimited JSON, by `Accept`.

Each item leaves as soon as it is made and the reader has taken the one before; a client that goes
away closes the generator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from dohost.gateway.accept import names
from dohost.gateway.replies import encode_result

EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"


def content_type_of(accept: str) -> str:
    """Return the framing that a client's `Accept` asks for; lines of JSON by default."""
    return EVENT_STREAM if names(accept, EVENT_STREAM) else NDJSON


async def frames(items: AsyncIterator[object], *, content_type: str) -> AsyncIterator[bytes]:
    """Yield each item as one event, or one line, of JSON."""
    before, after = (b"data: ", b"\n\n") if content_type == EVENT_STREAM else (b"", b"\n")
    async for item in items:
        yield before + encode_result(item) + after
