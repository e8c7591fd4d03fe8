"""Answers that are the server's own: problem details (RFC 9457) without a word about its insides."""

from __future__ import annotations

import json
from http import HTTPStatus

import msgspec

from dohost.errors import CallerError, DohostError
from dohost.server.answers import encode_head

RETRY_AFTER_S = 1
_OUT_OF_DESCRIPTORS = "too-many-files"
# EMFILE and ENFILE, whichever call met them.
_DESCRIPTOR_ERRNOS = frozenset((23, 24))


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, for the client: `code` is a word from the error table, if there is one.

    `fields`: what the answer's head says beside.
    """

    status: int
    detail: str
    code: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


def problem_of(error: BaseException) -> Problem:
    """Return what a client may know about an error that nobody handled.

    Only a caller's own mistake is repeated; the text of other errors can name files or hold secrets.
    """
    if isinstance(error, OSError) and error.errno in _DESCRIPTOR_ERRNOS:
        return Problem(
            status=503, detail="The server is out of resources.", code=_OUT_OF_DESCRIPTORS
        )
    if isinstance(error, CallerError):
        return Problem(status=error.status, detail=str(error), code=error.code)
    if isinstance(error, DohostError):
        return Problem(status=error.status, detail=_general(error.status), code=error.code)
    return Problem(status=500, detail=_general(500), code="internal")


def encode_problem(
    problem: Problem, *, request_id: str | None, own_lines: str, date: str, is_head: bool
) -> bytes:
    """Return the whole answer; `own_lines` are the fields about the connection, `date` is its line."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.code is not None:
        members["code"] = problem.code
    items = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    items += problem.fields
    if request_id is not None:
        members["requestId"] = request_id
        items.append(("X-Request-Id", request_id))
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        items.append(("Retry-After", str(RETRY_AFTER_S)))
    body = json.dumps(members).encode()
    head = encode_head(
        problem.status,
        items,
        reason="",
        own_lines=f"Content-Length: {len(body)}\r\n{own_lines}",
        date=date,
    )
    return head if is_head else head + body


def _general(status: int) -> str:
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "The server can't take this request now; try again later."
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        return "The server has no room to store this."
    return "The server failed to answer; its log has the details under this request id."
