"""One request as the stages of the gateway object see it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec
from workers import Request, Response

from dohost.gateway.caller import CONTEXT_HEADER
from dohost.gateway.identity import Identity, decode_context
from dohost.gateway.paths import BadPath, CanonicalPath, request_target
from dohost.gateway.problems import problem

NS_PER_MS = 1_000_000
CONTEXT = CONTEXT_HEADER.lower()


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request with what is known about it; header names in lower case.

    `standing` is the same text for the same caller as long as the verdicts about it hold.
    """

    request: Request
    identity: Identity
    standing: str
    method: str
    path: CanonicalPath
    query_text: str
    headers: Mapping[str, str]

    def remaining_s(self, now_ns: int, *, timeout_ms: int) -> float:
        """Return how long a call may take: its own timeout, within what is left of the request's."""
        left_ms = self.identity.deadline_ms - now_ns // NS_PER_MS
        return max(0, min(timeout_ms, left_ms)) / 1_000

    def query(self) -> dict[str, str]:
        """Return the query's fields; of a repeated one, the last."""
        if not self.query_text:
            return {}
        return dict(parse_qsl(self.query_text, keep_blank_values=True, errors="replace"))


def read_exchange(request: Request) -> Exchange | Response:
    """Return what the entry point sent, or the refusal of a request that it did not send."""
    headers = header_map(request)
    context = headers.pop(CONTEXT, None)
    if context is None:
        told = problem("forbidden", "Requests reach the gateway through its entry point.")
        return told.to_response()
    identity, standing = decode_context(context)
    target = request_target(request.url)
    path = target.path
    if isinstance(path, BadPath):
        return problem("bad-path", path.reason).to_response(request_id=identity.request_id)
    return Exchange(
        request=request,
        identity=identity,
        standing=standing,
        method=str(request.method),
        path=path,
        query_text=target.query_text,
        headers=headers,
    )


def header_map(message: Request | Response) -> dict[str, str]:
    """Return header fields by lower-case name; repeated ones are joined."""
    items = message.headers.items()
    found = dict(items)
    if len(found) < len(items):
        # Only cookies come on several lines.
        found["set-cookie"] = ", ".join(value for name, value in items if name == "set-cookie")
    return found
