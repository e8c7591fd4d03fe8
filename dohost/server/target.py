"""From request line and Host to the URL that Worker code gets; a pure decision.

The path and query stay as the client wrote them, dot segments and all: deciding what a path means is the
program's business, and a server that tidies paths behind its back opens holes between the two. What has
no single meaning is refused: control characters, fragments, an authority that contradicts Host.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

import msgspec

# reg-name, IPv4 and bracketed IPv6 with an optional port (RFC 3986 §3.2.2), without userinfo. A URL's
# host has no percent-encoding left (WHATWG), so one that has some can't become a URL.
_split_authority = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9._~!$&'()*+,;=-]+)(?::([0-9]{0,5}))?"
).fullmatch
_PORT_MAX = 65_535
_split_absolute = re.compile(r"(?i)(https?)://([^/?#]*)(.*)", re.DOTALL).fullmatch


class BadTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The request line can't be served; `reason` is for the client."""

    reason: str


def is_authority(host: str) -> bool:
    """Tell whether `host` is a plain host with an optional port."""
    matched = _split_authority(host) if len(host) <= 255 else None
    if matched is None:
        return False
    address, port = matched.groups()
    if port and int(port) > _PORT_MAX:
        return False
    return address is None or _is_ipv6(address)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def url_of(target: str, *, scheme: str, host: str) -> str | BadTarget:
    """Return the absolute URL of a request, its path and query untouched.

    `host` is a checked Host field. Bytes beyond ASCII have no business in a target (RFC 3986 §2).
    """
    if not (target.isascii() and target.isprintable()):
        return BadTarget(reason="a character in the request target needs percent-encoding")
    if "#" in target:
        return BadTarget(reason="fragment in the request target")
    if target.startswith("/"):
        return f"{scheme}://{host}{target}"
    return _absolute(target, host=host)


def _absolute(target: str, *, host: str) -> str | BadTarget:
    match = _split_absolute(target)
    if match is None:
        return BadTarget(reason="request target is neither a path nor an http URL")
    scheme, authority, rest = match.groups()
    if authority.lower() != host.lower():
        return BadTarget(reason="authority of the request target differs from Host")
    if not rest.startswith("/"):
        rest = f"/{rest}"
    return f"{scheme.lower()}://{host}{rest}"
