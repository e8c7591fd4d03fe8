"""`fetch`: send a request to the outside, through whatever the host put in the way.

The request is on its way when `fetch` has been called, awaited or not, as in JavaScript.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal, Unpack

from workers.abort import AbortSignal, as_error
from workers.context import outbound
from workers.fetchtypes import FetchKwargs
from workers.request import Request
from workers.response import Response


def fetch(resource: str | Request, **options: Unpack[FetchKwargs]) -> Awaitable[Response]:
    """Send a request and return an awaitable of its response.

    `signal` (an AbortSignal) gives the request up; the reason of the abort is then raised. Raises: JsTypeError for a malformed request; OSError if there is no network here or it failed.
    """
    fetcher = outbound.get()
    if fetcher is None:
        raise OSError(
            "fetch() has no way out here: it works in code that a host runs, not at import or in a "
            "plain script"
        )
    signal = options.get("signal")
    if options or not isinstance(resource, Request):
        resource = Request(resource, **options)
    if not isinstance(signal, AbortSignal):
        return fetcher.fetch(resource)
    pending = None if signal.aborted else asyncio.ensure_future(fetcher.fetch(resource))
    return asyncio.ensure_future(_until_aborted(pending, signal))


async def _until_aborted(pending: asyncio.Future[Response] | None, signal: AbortSignal) -> Response:
    if pending is None:
        raise as_error(signal.reason)
    aborted = asyncio.Event()

    def listener(event: object) -> None:
        aborted.set()

    signal.addEventListener("abort", listener)
    waiting = asyncio.ensure_future(aborted.wait())
    try:
        both: list[asyncio.Future[Response] | asyncio.Future[Literal[True]]] = [pending, waiting]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not pending.done():
            raise as_error(signal.reason)
        return await pending
    finally:
        signal.removeEventListener("abort", listener)
        waiting.cancel()
        pending.cancel()
