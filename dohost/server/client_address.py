"""Who the client is: the connection's peer, or what trusted proxies say; a pure decision.

A header that anybody can send identifies nobody. So the fields below are taken out of every request;
the server then states the address itself in `CF-Connecting-IP`, `X-Real-IP` and `request.cf`. Only when
the peer is a trusted proxy is its forwarding field read, from the right, to the first address that is
not a trusted proxy's: entries left of that one are the client's own words. Which field that is must be
configured: a proxy that writes `X-Forwarded-For` passes a client's `Forwarded` on untouched, and the
other way round, so reading whichever is there would let clients choose their address.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from multidict import MultiMapping, istr

Network = IPv4Network | IPv6Network
ForwardingField = Literal["x-forwarded-for", "forwarded"]

IDENTITY_FIELDS = tuple(
    istr(name)
    for name in (
        "CF-Connecting-IP",
        "CF-Connecting-IPv6",
        "CF-Pseudo-IPv4",
        "CF-IPCountry",
        "CF-Ray",
        "CF-Visitor",
        "CF-Worker",
        "True-Client-IP",
        "X-Real-IP",
    )
)
FORWARDING_FIELDS = tuple(
    istr(name) for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
)
_HOPS_MAX = 32

# `for=` of one Forwarded element (RFC 7239 §4): a token or a quoted string.
_forwarded_for = re.compile(r'(?i)(?:^|[;\s])for=(?:"([^"]*)"|([^;,\s"]+))').search
_forwarded_proto = re.compile(r'(?i)(?:^|[;\s])proto="?(https?)"?(?:$|[;\s])').search


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Parse addresses and CIDR blocks; raises ValueError naming the first that is neither."""
    return tuple(ip_network(text, strict=False) for text in texts)


def plain_address(text: str) -> str | None:
    """Return the canonical form of an address with or without port and brackets, else None."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def is_within(ip: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether `ip`, in canonical form, lies in one of the networks."""
    if not networks:
        return False
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in networks)


def is_loopback(ip: str) -> bool:
    """Tell whether `ip`, in canonical form, is this machine."""
    return ip == "::1" or ip.startswith("127.")


def forwarded_client(hops: list[str], peer: str, *, trusted: tuple[Network, ...]) -> str:
    """Return the right-most address that is not a trusted proxy's; `peer` is one that is."""
    client = peer
    for hop in reversed(hops[-_HOPS_MAX:]):
        address = plain_address(hop)
        if address is None:
            return client
        client = address
        if not is_within(address, trusted):
            return client
    return client


def forwarded_hops(headers: MultiMapping[str], field: ForwardingField) -> list[str]:
    """Return the addresses that proxies wrote, the nearest last, as they wrote them."""
    listed = headers.getall(field, [])
    if not listed:
        return []
    elements = ",".join(listed).split(",")
    if field == "x-forwarded-for":
        return elements
    matches = [_forwarded_for(element) for element in elements]
    return [(match[1] or match[2] or "") if match else "" for match in matches]


def forwarded_scheme(headers: MultiMapping[str], field: ForwardingField) -> str | None:
    """Return the scheme that the nearest proxy saw, or None; ask only if the peer is trusted."""
    if field == "forwarded":
        match = _forwarded_proto(",".join(headers.getall(field, [])).rpartition(",")[2])
        return match[1].lower() if match else None
    last = ",".join(headers.getall("X-Forwarded-Proto", [])).rpartition(",")[2].strip().lower()
    return last if last in ("http", "https") else None


def identity_fields(ip: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields in which the server states the client's address."""
    encoded = ip.encode()
    return ((b"CF-Connecting-IP", encoded), (b"X-Real-IP", encoded))


def stripped(
    raw_headers: tuple[tuple[bytes, bytes], ...], names: frozenset[bytes]
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields whose lower-case name is not in `names`."""
    return tuple(field for field in raw_headers if field[0].lower() not in names)
