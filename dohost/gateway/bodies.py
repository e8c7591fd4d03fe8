"""Reading request bodies in one place: bounded, JSON, and never a 500 for what a client sends."""

from __future__ import annotations

import msgspec
from workers import Request

from dohost.gateway.config_tables import LimitsConfig
from dohost.gateway.problems import Problem, problem

# More than any limit has, and fewer than Python takes for a number.
DIGITS_MAX = 18
JSON_TYPES = ("application/json", "application/graphql+json")


async def read_bounded(request: Request, bytes_max: int) -> bytes | Problem:
    """Return the body, reading no more than one chunk beyond the limit."""
    declared = request.headers.get("content-length") or ""
    if is_over(declared, bytes_max):
        return _too_large(bytes_max)
    if request.body is None:
        return b""
    if declared:
        data = await request.bytes()
        return data if len(data) <= bytes_max else _too_large(bytes_max)
    chunks = bytearray()
    async for chunk in request.body:
        chunks += chunk
        if len(chunks) > bytes_max:
            return _too_large(bytes_max)
    return bytes(chunks)


def is_over(declared: str, bytes_max: int) -> bool:
    """Return whether a Content-Length says more than `bytes_max`, with however many digits."""
    if not (declared.isdecimal() and declared.isascii()):
        return False
    digits = declared.lstrip("0")
    return len(digits) > DIGITS_MAX or int(digits or "0") > bytes_max


async def read_json(request: Request, limits: LimitsConfig) -> object | Problem:
    """Return the decoded JSON body, or the 400, 413 or 415 that it deserves."""
    content_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES and not content_type.endswith("+json"):
        return problem("unsupported-media-type", "Send the body as application/json.")
    refused = encoding_problem(request)
    if refused is not None:
        return refused
    data = await read_bounded(request, limits.body_bytes_max)
    if isinstance(data, Problem):
        return data
    try:
        value: object = msgspec.json.decode(data)
    except RecursionError:
        return problem("malformed-json", "The body is nested too deeply.")
    except ValueError as error:
        return problem("malformed-json", f"The body is not JSON: {error}.")
    if is_deeper(value, data, limits.json_depth_max):
        return problem("malformed-json", f"The body is nested over {limits.json_depth_max} deep.")
    return value


def encoding_problem(request: Request) -> Problem | None:
    """Return the 415 for a body in a content coding: one is never taken for what it decodes to."""
    coding = (request.headers.get("content-encoding") or "identity").strip().lower()
    if coding == "identity":
        return None
    return problem(
        "unsupported-media-type",
        "Send the body without a Content-Encoding.",
        headers=(("Accept-Encoding", "identity"),),
    )


def is_deeper(value: object, data: bytes, depth_max: int) -> bool:
    """Return whether a document is nested deeper than allowed; few brackets can't be."""
    if data.count(b"[") + data.count(b"{") <= depth_max:
        return False
    level = [value]
    for _ in range(depth_max):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(each, (dict, list)) for each in level)


def _too_large(bytes_max: int) -> Problem:
    return problem("body-too-large", f"The body is over {bytes_max} bytes.")
