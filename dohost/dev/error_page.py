"""What a client of the dev server gets for an uncaught exception.

A browser gets a page with the source that failed and the values around it; an API client problem+json
with the same facts; curl plain text. Everything shown has gone through the `Redactor`, and everything
put into HTML is escaped here, once.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Literal

from workers.request import Request
from workers.response import Response

from dohost.dev.failures import (
    HIDDEN,
    Failure,
    Frame,
    Redactor,
    describe,
    failure_text,
    user_frames,
)
from dohost.errors import DohostError

_HIDDEN_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-dohost-token"}
)
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#ddd, #444); --hot: light-dark(#fde7e7, #4a2020) }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
h1 { font-size: 1.4rem; overflow-wrap: anywhere } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
pre { border: 1px solid var(--line); border-radius: 6px; margin: 0; overflow-x: auto; padding: .5rem 0 }
pre, td, .place { font-family: ui-monospace, monospace; font-size: .85rem }
pre span { display: block; padding: 0 .75rem } pre .hot { background: var(--hot) }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid var(--line); overflow-wrap: anywhere; padding: .25rem .75rem; vertical-align: top }
td:first-child { white-space: nowrap; width: 1% }
"""


class ErrorPage:
    """Makes answers out of exceptions; files below `root` are the user's own."""

    def __init__(self, *, root: Path, redactor: Redactor) -> None:
        self._root = root
        self._redactor = redactor

    def __call__(self, error: BaseException, request: Request) -> Response:
        """Return the answer to `request` in the form that its sender reads."""
        status = error.status if isinstance(error, DohostError) else 500
        failure = describe(error, root=self._root, redactor=self._redactor)
        headers = {"cache-control": "no-store"}
        match form_for(request.headers.get("user-agent"), request.headers.get("accept")):
            case "html":
                headers["content-type"] = "text/html; charset=utf-8"
                headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'"
                page = page_html(failure, self._request_facts(request))
                return Response(page, status, headers=headers)
            case "text":
                headers["content-type"] = "text/plain; charset=utf-8"
                return Response(_plain(failure), status, headers=headers)
            case "json":
                headers["content-type"] = "application/problem+json"
                body = json.dumps(problem_members(failure, status=status))
                return Response(body, status, headers=headers)

    def _request_facts(self, request: Request) -> list[tuple[str, str]]:
        method_and_url = self._redactor.text(f"{request.method} {request.url}")
        return [
            ("request", method_and_url),
            *(
                (name, HIDDEN if name.lower() in _HIDDEN_HEADERS else self._redactor.text(value))
                for name, value in request.headers.items()
            ),
        ]


def form_for(user_agent: str | None, accept: str | None) -> Literal["html", "text", "json"]:
    """Decide how the client wants to read: browsers ask for HTML, curl is a person, others are programs."""
    if user_agent is not None and user_agent.startswith("curl/"):
        return "json" if accept is not None and "json" in accept else "text"
    if accept is not None and "text/html" in accept:
        return "html"
    return "json"


def problem_members(failure: Failure, *, status: int) -> dict[str, object]:
    """Return the members of a problem document (RFC 9457) that tells what the page tells."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": failure.kind,
        "status": status,
        "detail": failure.message,
    }
    if failure.problems:
        members["problems"] = list(failure.problems)
    frames = user_frames(failure)
    if frames:
        members["frames"] = [
            {"file": frame.file, "line": frame.line, "function": frame.function} for frame in frames
        ]
    return members


def page_html(failure: Failure, request_facts: list[tuple[str, str]]) -> str:
    """Return the whole page; every text in it is escaped."""
    head = f"{failure.kind}: {failure.message}" if failure.message else failure.kind
    if failure.problems:
        head = f"{len(failure.problems)} to fix"
        parts = [f"<pre><span>{escape(problem)}</span></pre>" for problem in failure.problems]
    else:
        parts = [_frame_html(frame) for frame in reversed(user_frames(failure))]
        parts.append(
            f"<h2>Stack</h2><details><pre><span>{escape(failure.stack)}</span></pre></details>"
        )
    parts.append(f"<h2>Request</h2>{_table(request_facts)}")
    title = escape(head.partition("\n")[0])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><h1>{escape(head)}</h1>{''.join(parts)}</html>"
    )


def _frame_html(frame: Frame) -> str:
    lines = []
    for line in frame.source:
        is_hot = line.number == frame.line
        text = escape(f"{line.number:>5} | {line.text}")
        if is_hot and frame.column is not None:
            length = max(1, (frame.end_column or frame.column + 1) - frame.column)
            text += f"\n{' ' * 5} | {' ' * frame.column}{'^' * length}"
        hot = ' class="hot"' if is_hot else ""
        lines.append(f"<span{hot}>{text}</span>")
    place = escape(f"{frame.file}:{frame.line} in {frame.function}")
    values = _table(list(frame.values)) if frame.values else ""
    return f'<h2 class="place">{place}</h2><pre>{"".join(lines)}</pre>{values}'


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _plain(failure: Failure) -> str:
    return (failure.stack or failure_text(failure)).rstrip() + "\n"
