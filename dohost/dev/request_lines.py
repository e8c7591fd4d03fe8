"""One line per request: `[dohost] GET /path 200 OK (12ms)`, coloured by how it went. Pure."""

from __future__ import annotations

from http import HTTPStatus

from rich.text import Text

PREFIX = "[dohost]"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


def request_text(method: str, path: str, *, status: int, duration_ms: float) -> Text:
    """Return the line; `path` loses its query, which may hold secrets, and control characters."""
    reason = _REASONS.get(status, "")
    shown = path.partition("?")[0].encode("unicode_escape").decode("ascii")
    outcome = f"{status} {reason}".rstrip()
    return Text.assemble(
        (PREFIX, "dim"),
        " ",
        (method, "bold"),
        f" {shown} ",
        (outcome, f"bold {status_colour(status)}"),
        " ",
        (f"({duration_ms:.0f}ms)", "bright_black"),
    )


def status_colour(status: int) -> str:
    """Return green for success, yellow for the caller's fault, red for ours, else blue."""
    match status // 100:
        case 2:
            return "green"
        case 4:
            return "yellow"
        case 5:
            return "red"
        case _:
            return "blue"
