"""Hosts as the WHATWG standard reads them: one spelling for each address, and none for what is no host.

A program that compares `url.hostname` with an address must see the address that a connection would go to:
`0x7f.1`, `127.1` and `2130706433` are all 127.0.0.1, and a host that ends like a number but is no address is
no host.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes

from workers.url_idna import to_ascii

_forbidden = re.compile(r"[\x00-\x20#/<>?@\\^|%\[\]:\x7f]").search
_forbidden_opaque = re.compile(r"[\x00\t\n\r #/:<>?@\[\\\]^|]").search
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_find_number = re.compile(r"0[xX]([0-9a-fA-F]*)|0([0-7]*)|([1-9][0-9]*)").fullmatch
_find_zeros = re.compile(r"(?:^|:)0(?::0)+(?=:|$)").finditer
_PARTS_MAX = 4


def parse_host(host: str) -> str:
    """Return the host of a URL of http, ws or ftp in its one spelling. Raises: ValueError."""
    if host.startswith("[") and host.endswith("]"):
        return f"[{_compressed(IPv6Address(host[1:-1]))}]"
    if "%" in host:
        host = unquote_to_bytes(host).decode()
    host = host.lower() if host.isascii() else to_ascii(host)
    if not host or _forbidden(host):
        raise ValueError("host")
    return _ipv4(host) if _ends_in_number(host) else host


def parse_opaque_host(host: str) -> str:
    """Return the host of a URL of another scheme; only addresses in brackets mean something there.

    Raises: ValueError.
    """
    if host.startswith("[") and host.endswith("]"):
        return f"[{_compressed(IPv6Address(host[1:-1]))}]"
    if _forbidden_opaque(host):
        raise ValueError("host")
    return quote(host, safe=_PRINTABLE)


def _compressed(address: IPv6Address) -> str:
    if address.scope_id is not None:
        raise ValueError("a zone is no part of a host")
    # Python 3.13 writes a mapped address with dots; the standard never does.
    pieces = [f"{int(piece, 16):x}" for piece in address.exploded.split(":")]
    text = ":".join(pieces)
    zeros = max(_find_zeros(text), key=_length, default=None)
    if zeros is None:
        return text
    return f"{text[: zeros.start()]}::{text[zeros.end() :].removeprefix(':')}"


def _length(matched: re.Match[str]) -> int:
    return matched[0].count("0")


def _ends_in_number(host: str) -> bool:
    last = host.removesuffix(".").rpartition(".")[2]
    return last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None


def _ipv4(host: str) -> str:
    numbers = [_number(part) for part in host.removesuffix(".").split(".")]
    *first, last = numbers
    room = _PARTS_MAX - len(first)
    if room < 1 or any(number > 255 for number in first) or last >= 256**room:
        raise ValueError("address")
    value = last + sum(number * 256 ** (3 - at) for at, number in enumerate(first))
    return str(IPv4Address(value))


def _number(part: str) -> int:
    matched = _find_number(part)
    if matched is None:
        raise ValueError("address")
    for digits, base in zip(matched.groups(), (16, 8, 10), strict=True):
        if digits is not None:
            return int(digits or "0", base)
    raise AssertionError("one group matches")
