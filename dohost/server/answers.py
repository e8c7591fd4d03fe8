"""The bytes of an answer: status line, fields and framing, and the answers that are the server's own.

Framing is ours alone: what a program says about connection, length and transfer coding is replaced by what
really goes out, so a wrong header in user code can't put two answers out of step on one connection
(RFC 9112 §6). Fields go from the response to the wire without a multidict in between; one check over
all of them refuses control characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from dohost.clock import Clock
from dohost.memo import Memo

REASONS = {status.value: status.phrase for status in HTTPStatus}
_OURS = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    )
)
# What a program's answer begins with, by status, reason and its field.
_STARTS: Memo[str] = Memo(entries_max=256)
# By names of fields: 1, and more for what has to be looked at.
_PLAIN, _HAS_OURS, _HAS_DATE = 1, 2, 4
_KINDS: Memo[int] = Memo(entries_max=512)
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
_finds_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class Framing(msgspec.Struct, frozen=True, kw_only=True):
    """How the end of a body is told: its length, chunks, or (both absent) the end of the connection."""

    length: int | None = None
    is_chunked: bool = False
    has_no_body: bool = False


class DateField:
    """The `Date` field, made once a second."""

    __slots__ = ("_clock", "_line", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._line = ""

    def line(self) -> str:
        """Return `Date: …` with its line end."""
        second = self._clock.realtime_ns() // 1_000_000_000
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n"
        return self._line


def encode_head(
    status: int, items: Iterable[tuple[str, str]], *, reason: str, own_lines: str, date: str
) -> bytes:
    """Return status line and fields, with `own_lines` (framing, connection) at the end.

    `date`: the line to add, unless the fields say when the answer was made: it may be older than that.
    Raises: ValueError if a field holds a control character.
    """
    fields = tuple(items)
    kind = _kind_of(fields)
    if len(fields) <= 1:
        # Most answers of programs have one field, the content type, and few different ones.
        start = _STARTS.get_or_make(
            (status, reason, fields), lambda: _start_of(status, reason, fields, kind)
        )
    else:
        start = _start_of(status, reason, fields, kind)
    head = f"{start}{own_lines}\r\n" if kind & _HAS_DATE else f"{start}{own_lines}{date}\r\n"
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode("utf-8")


def _start_of(status: int, reason: str, fields: tuple[tuple[str, str], ...], kind: int) -> str:
    if kind & _HAS_OURS:
        fields = tuple([field for field in fields if field[0].lower() not in _OURS])
    lines = list(map(": ".join, fields))
    # One look at all of them; what is not plain ASCII is looked at line by line.
    text = "".join(lines)
    is_plain = text.isascii() and len(text.encode().translate(None, _CONTROLS)) == len(text)
    if not is_plain and any(map(_finds_control, lines)):
        raise ValueError("a response header holds a control character")
    if not reason.isprintable():
        raise ValueError("the response's status text holds a control character")
    lines.insert(0, f"HTTP/1.1 {status} {reason or REASONS.get(status, '')}")
    lines.append("")
    return "\r\n".join(lines)


def _kind_of(fields: tuple[tuple[str, str], ...]) -> int:
    """Say whether a field is among those that only the server writes, or the date; programs send few
    sets of names."""
    names = tuple([name for name, _ in fields])
    kind = _KINDS.get(names)
    if kind is None:
        found = {name.lower() for name in names}
        kind = _PLAIN if found.isdisjoint(_OURS) else _HAS_OURS
        kind |= _HAS_DATE if "date" in found else _PLAIN
        _KINDS.put(names, kind)
    return kind


def declared_length(value: str | None) -> int | None:
    """Return the length that a program declared for its body, or None if it is not one."""
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


def length_line(length: int | None) -> str:
    """Return `Content-Length: …` with its line end, or nothing."""
    return "" if length is None else f"Content-Length: {length}\r\n"
