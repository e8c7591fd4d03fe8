"""Request heads whose fields were read before: a client repeats them with request after request.

A head is a request line and fields, and from one request to the next usually only the target changes. So
the bytes of the fields are remembered with what aiohttp's parser made of them. A request whose fields are
the very same bytes, behind a request line that leaves nothing to interpret, is made of that: it costs a
match and a look-up, and what follows from the fields (`Accepted`, in the adapter) is decided once.

Invariants: (1) nothing is understood here that the parser has not understood: what differs is a method of
a few, a target of plain characters, and the one version; (2) only requests without a body, that keep
their connection, ask for no upgrade and arrive whole and alone are taken, so where the next one begins is
plain: while the parser holds a part of a request, what comes next belongs to that, whatever it looks like,
and is neither taken nor remembered; (3) what is remembered is bounded in number and size.
"""

from __future__ import annotations

import re

import msgspec
from aiohttp import EMPTY_PAYLOAD, HttpVersion11, StreamReader
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy
from yarl import URL

from dohost.memo import Memo
from dohost.server.limits import Limits

_END = b"\r\n\r\n"
# No fragment, nothing beyond ASCII; the parser bounds and refuses the rest.
_request_line = re.compile(rb"(DELETE|GET|HEAD|OPTIONS) (/[!-\"$-~]*) HTTP/1\.1\r\n").match
_FIELDS_BYTES_MAX = 2_048
_ENTRIES_MAX = 1_024


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a head, as the parser read them."""

    headers: CIMultiDictProxy[str]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    url: URL


class KnownHeads:
    """The fields that came lately, by their bytes; one for all connections of a listener."""

    __slots__ = ("_fields", "_fields_bytes_max", "_url_bytes_max")

    def __init__(self, limits: Limits) -> None:
        self._fields: Memo[Fields] = Memo(entries_max=_ENTRIES_MAX)
        self._fields_bytes_max = min(_FIELDS_BYTES_MAX, limits.header_bytes_max)
        self._url_bytes_max = limits.url_bytes_max

    def find(self, data: bytes) -> RawRequestMessage | None:
        """Return the request that `data` is, if it is a whole one with known fields, else None."""
        line = _request_line(data)
        if line is None:
            return None
        fields = self._fields.get(data[line.end() :])
        if fields is None:
            return None
        method, target = line.groups()
        if len(target) > self._url_bytes_max:
            return None
        return RawRequestMessage(
            method.decode(),
            target.decode(),
            HttpVersion11,
            fields.headers,
            fields.raw_headers,
            False,
            None,
            False,
            False,
            fields.url,
        )

    def learn(self, data: bytes, message: object, payload: StreamReader) -> None:
        """Remember the fields of `message`, which `data` is (`is_whole`), if others may follow it."""
        line = _request_line(data)
        if (
            line is None
            or type(message) is not RawRequestMessage
            or payload is not EMPTY_PAYLOAD
            or message.should_close
            or message.upgrade
            or message.chunked
            or message.compression is not None
        ):
            return
        start = line.end()
        if len(data) - start <= self._fields_bytes_max:
            fields = Fields(
                headers=message.headers, raw_headers=message.raw_headers, url=message.url
            )
            self._fields.put(data[start:], fields)

    def __repr__(self) -> str:
        return f"<KnownHeads {len(self._fields)}>"


def is_whole(data: bytes, message: object, payload: StreamReader, *, is_aligned: bool) -> bool:
    """Whether a request that `data` has completed ends with it; if not, the parser may hold a part of another.

    `is_aligned`: whether the parser held nothing before. If it did, only the end of a head tells.
    """
    if type(message) is not RawRequestMessage or message.upgrade or message.chunked:
        return False
    if payload is not EMPTY_PAYLOAD and not (is_aligned and payload.is_eof()):
        return False
    end = data.find(_END)
    return end >= 0 and end + len(_END) + payload.total_bytes == len(data)
