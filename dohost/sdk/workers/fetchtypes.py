"""Names for the shapes that `Request`, `Response` and `fetch` take; types only, no behaviour."""

from __future__ import annotations

from http import HTTPMethod
from typing import TypedDict

from workers.blob import JsBlob
from workers.context import ExecutionContext
from workers.formdata import FormData
from workers.headers import HeadersInit
from workers.streams import ReadableStream
from workers.url_object import URLSearchParams
from workers.values import Uint8Array

JSBody = ReadableStream | FormData | JsBlob | URLSearchParams | Uint8Array
Body = str | bytes | JSBody | None
Context = ExecutionContext


class RequestInitCfProperties(TypedDict, total=False):
    """Options of Cloudflare's network; accepted everywhere, acted on there only."""

    cacheEverything: bool
    cacheKey: str
    cacheTags: list[str]
    cacheTtl: int
    cacheTtlByStatus: dict[str, int]


class FetchKwargs(TypedDict, total=False):
    """Keywords of `fetch` and `Request`; JavaScript ignores names that it doesn't know."""

    method: HTTPMethod | str
    headers: HeadersInit | None
    body: Body
    redirect: str
    cf: RequestInitCfProperties | dict[str, object] | None
    cache: str
    credentials: str
    integrity: str
    keepalive: bool
    mode: str
    referrer: str
    referrer_policy: str
    fetcher: object
    signal: object
