"""The REST face of a service: from a Request under a route's prefix to an exposed method and back.

The path and verb find the method in the registry; arguments come from path, query and JSON body. The
answer is JSON, 404 for None, problem+json for a `ServiceError`; what escapes beyond that is the
gateway's to answer, because only an escaping exception counts as a failure of the service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from inspect import isawaitable
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from workers import ReadableStream, Request, Response

from dohost.gateway.arguments import HttpArguments
from dohost.gateway.caller import PREFIX_HEADER, Caller
from dohost.gateway.problems import PROBLEM_TYPES
from dohost.gateway.registry import ExposedMethod, PathMatch, Registry, split_path
from dohost.gateway.replies import encode_result, render_tags
from dohost.gateway.service_error import ServiceError, ServiceProblem
from dohost.gateway.streaming import content_type_of, frames
from dohost.memo import Memo

JSON_TYPE = "application/json"
QUERY_FIELDS_MAX = 1_000
_TARGETS: Memo[tuple[str, str]] = Memo(entries_max=2_048)
STATUSES = frozenset(HTTPStatus)
Headers = dict[str, str]


class _MethodNotAllowed(ServiceError):
    def __init__(self, path: str, verbs: frozenset[str]) -> None:
        self.allow = ", ".join(sorted(verbs))
        super().__init__(405, "method-not-allowed", f"{path} answers {self.allow} only.")


async def serve_rest(
    service: object, registry: Registry, request: Request, *, caller: Caller
) -> Response:
    """Answer one REST request with the exposed method that serves it."""
    target = _TARGETS.get(request.url)
    if target is None:
        target = _target(request.url)
        _TARGETS.put(request.url, target)
    path, query = target
    try:
        return await _dispatch(service, registry, request, path=path, query=query)
    except ServiceError as error:
        if isinstance(error, _MethodNotAllowed) and request.method == "OPTIONS":
            return Response(None, status=204, headers={"Allow": error.allow})
        headers = {"Allow": error.allow} if isinstance(error, _MethodNotAllowed) else {}
        instance = (request.headers.get(PREFIX_HEADER) or "") + path
        return problem_response(error.problem, instance, caller, headers)


async def _dispatch(
    service: object, registry: Registry, request: Request, *, path: str, query: str
) -> Response:
    method, path_values = _find(registry, request, path)
    arguments = method.signature.bind_http(
        HttpArguments(path=path_values, query=_query(query), body=await _body(request))
    )
    result = method.function(service, **arguments)
    if method.is_stream:
        items = cast("AsyncIterator[object]", result)
        return _stream(items, content_type_of(request.headers.get("accept") or ""))
    if isawaitable(result):
        result = await result
    if result is None and method.exposure.is_safe:
        raise ServiceError(404, "not-found", f"Nothing is at {path}.")
    return _answer(method, arguments, result, is_head=request.method == "HEAD")


def _find(
    registry: Registry, request: Request, path: str
) -> tuple[ExposedMethod, Mapping[str, str]]:
    verb = str(request.method)
    found = registry.memo.get((verb, path))
    if found is None:
        found = _match(registry, verb, path)
        registry.memo.put((verb, path), found)
    return found.method, found.parameters


def _match(registry: Registry, verb: str, path: str) -> PathMatch:
    try:
        segments = [unquote(each, errors="strict") for each in split_path(path)]
    except UnicodeDecodeError:
        raise ServiceError(400, "bad-path", "The path is not UTF-8.") from None
    found = registry.match(verb, segments)
    if isinstance(found, frozenset):
        if not found:
            raise ServiceError(404, "not-found", f"Nothing is at {path}.")
        raise _MethodNotAllowed(path, found | {"HEAD"} if "GET" in found else found)
    return found


def _target(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.path, parts.query


def _query(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError:
        raise ServiceError(400, "bad-query", "The query is not UTF-8, or too long.") from None


async def _body(request: Request) -> object:
    if request.method in ("GET", "HEAD") or request.body is None:
        return msgspec.UNSET
    data = await request.bytes()
    if not data:
        return msgspec.UNSET
    coding = (request.headers.get("content-encoding") or "identity").strip().lower()
    if coding != "identity":
        text = "Send the body without a Content-Encoding."
        raise ServiceError(415, "unsupported-media-type", text)
    content_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if content_type != JSON_TYPE and not content_type.endswith("+json"):
        raise ServiceError(415, "unsupported-media-type", f"Send the body as {JSON_TYPE}.")
    return decode_json(data)


def decode_json(data: bytes) -> object:
    """Return a JSON document, or raise a 400: malformed, too deep, not UTF-8, lone surrogates."""
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ServiceError(400, "malformed-json", f"The body is not JSON: {reason}.") from None


def _answer(
    method: ExposedMethod, arguments: Mapping[str, object], result: object, *, is_head: bool
) -> Response:
    exposure = method.exposure
    headers: Headers = {"Content-Type": JSON_TYPE}
    if exposure.cache_ttl_s is not None:
        headers["Cache-Control"] = f"max-age={exposure.cache_ttl_s:.0f}"
        _add_groups(headers, "Cache-Groups", render_tags(exposure.tags, arguments, result))
    if exposure.invalidates:
        tags = render_tags(exposure.invalidates, arguments, result)
        _add_groups(headers, "Cache-Group-Invalidation", tags)
    if result is None:
        del headers["Content-Type"]
        return Response(None, status=204, headers=headers)
    body = encode_result(result)
    return Response(None if is_head else body, status=exposure.status, headers=headers)


def _stream(items: AsyncIterator[object], content_type: str) -> Response:
    body = ReadableStream.from_async_iterable(frames(items, content_type=content_type))
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(body, headers=headers)


def _add_groups(headers: Headers, field: str, tags: list[str]) -> None:
    """Name cache groups (RFC 9875): a structured list of strings, which are printable ASCII."""
    quoted = [
        '"' + tag.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for tag in tags
        if tag.isascii() and tag.isprintable()
    ]
    if quoted:
        headers[field] = ", ".join(quoted)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in STATUSES else "Error"


def problem_response(
    problem: ServiceProblem, instance: str, caller: Caller, headers: Mapping[str, str]
) -> Response:
    """Return a deliberate failure as problem+json (RFC 9457)."""
    known = PROBLEM_TYPES.get(problem.code)
    members: dict[str, object] = {
        "type": "about:blank" if known is None else known.uri,
        "title": _phrase(problem.status) if known is None else known.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "requestId": caller.request_id,
    }
    if problem.pointer is not None:
        members["errors"] = [{"detail": problem.detail, "pointer": "#" + problem.pointer}]
    elif problem.parameter is not None:
        members["errors"] = [{"detail": problem.detail, "parameter": problem.parameter}]
    return Response(
        encode_result(members),
        status=problem.status,
        headers={"Content-Type": "application/problem+json", **headers},
    )
