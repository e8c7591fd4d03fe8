"""`fetch`: send a request to the outside, through whatever the host put in the way.

The request is on its way when `fetch` has been called, awaited or not, as in JavaScript.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Unpack

from workers.context import outbound
from workers.fetchtypes import FetchKwargs
from workers.request import Request
from workers.response import Response


def fetch(resource: str | Request, **options: Unpack[FetchKwargs]) -> Awaitable[Response]:
    """Send a request and return an awaitable of its response.

    Raises: JsTypeError for a malformed request; OSError if there is no network here or it failed.
    """
    fetcher = outbound.get()
    if fetcher is None:
        raise OSError(
            "fetch() has no way out here: it works in code that a host runs, not at import or in a "
            "plain script"
        )
    if options or not isinstance(resource, Request):
        resource = Request(resource, **options)
    return fetcher.fetch(resource)
