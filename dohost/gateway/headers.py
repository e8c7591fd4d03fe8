"""Which headers pass the gateway, and the ids that it puts on a request.

Hop-by-hop fields end here (RFC 9110 §7.6.1), and so does everything by which a client could claim an
identity: services believe what the gateway says about a caller, so nobody else may say it. Servers
that turn headers into variables read `X_Tenant_ID` as `X-Tenant-ID`; both spellings are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from dohost.clock import Clock, Entropy, uuid7
from dohost.memo import Memo

Header = tuple[str, str]
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
IDENTITY = re.compile(
    r"x-(tenant|user|gateway|authenticated|forwarded-user|remote-user)(-.*)?|x-tier"
)
NAMES_MEMOISED_MAX = 4_096
# The same few names come with nearly every request.
_IDENTITY_NAMES: Memo[bool] = Memo(entries_max=NAMES_MEMOISED_MAX)
_CLAIMED: Memo[tuple[str, ...]] = Memo(entries_max=NAMES_MEMOISED_MAX)
REQUEST_ID = re.compile(r"[\w\-]{8,128}", re.ASCII)
TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
TRACESTATE_MEMBERS_MAX = 32
SAMPLED = 0x01
SAMPLED_FLAGS = f"{SAMPLED:02x}"


class Trace(Struct, frozen=True, kw_only=True):
    """W3C trace context to send on; `parent_id` is ours."""

    trace_id: str
    parent_id: str
    flags: str
    tracestate: str | None

    @property
    def traceparent(self) -> str:
        """The field's value."""
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags}"


def without_hop_by_hop(headers: Iterable[Header]) -> list[Header]:
    """Drop hop-by-hop fields and those named in Connection."""
    kept: list[Header] = []
    named: set[str] = set()
    for field in headers:
        key = field[0].lower()
        if key not in HOP_BY_HOP:
            kept.append(field)
        elif key == "connection":
            named.update(token.strip().lower() for token in field[1].split(","))
    if named:
        return [field for field in kept if field[0].lower() not in named]
    return kept


def without_identity(headers: Iterable[Header]) -> list[Header]:
    """Drop what a client must not tell a service: tenant, user, tier and gateway headers, and their
    underscore twins."""
    return [field for field in headers if not _is_identity(field[0])]


def claimed_identity(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of a request's field names that a client must not use."""
    known = _CLAIMED.get(names)
    if known is None:
        known = tuple(filter(_is_identity, names))
        _CLAIMED.put(names, known)
    return known


def _is_identity(name: str) -> bool:
    return _IDENTITY_NAMES.get_or_make(
        name, lambda: IDENTITY.fullmatch(name.lower().replace("_", "-")) is not None
    )


def request_id(inbound: str | None, *, clock: Clock, entropy: Entropy) -> str:
    """Return the inbound id if it is well formed, else a new UUIDv7."""
    if inbound is not None and REQUEST_ID.fullmatch(inbound):
        return inbound
    return uuid7(clock, entropy)


def traceparent_of(headers: Mapping[str, str], *, entropy: Entropy) -> str:
    """Return the traceparent to send on: what `trace_of` says, without the rest of it."""
    if "traceparent" in headers:
        return trace_of(headers, entropy=entropy).traceparent
    return f"00-{entropy.bits(128) or 1:032x}-{entropy.bits(64) or 1:016x}-{SAMPLED_FLAGS}"


def trace_of(headers: Mapping[str, str], *, entropy: Entropy) -> Trace:
    """Continue the inbound trace with a span of ours, or start one if it is absent or malformed."""
    given = headers.get("traceparent")
    inbound = None if given is None else parse_traceparent(given)
    parent_id = f"{entropy.bits(64) or 1:016x}"
    if inbound is None:
        trace_id = f"{entropy.bits(128) or 1:032x}"
        return Trace(trace_id=trace_id, parent_id=parent_id, flags=SAMPLED_FLAGS, tracestate=None)
    trace_id, flags = inbound
    state = headers.get("tracestate", "")
    members = [member.strip() for member in state.split(",") if member.strip()]
    kept = ",".join(members) if 0 < len(members) <= TRACESTATE_MEMBERS_MAX else None
    return Trace(trace_id=trace_id, parent_id=parent_id, flags=flags, tracestate=kept)


def parse_traceparent(text: str) -> tuple[str, str] | None:
    """Return the trace id and flags (W3C Trace Context §3.2), or `None` if the field is malformed."""
    found = TRACEPARENT.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if trace_id == "0" * 32 or parent_id == "0" * 16:
        return None
    # Of the flags only "sampled" is defined by version 00, which is what we send.
    return trace_id, f"{int(flags, 16) & SAMPLED:02x}"


def merge_vary(headers: Iterable[Header], names: Iterable[str]) -> list[Header]:
    """Return the headers with one Vary field that also has `names`."""
    others: list[Header] = []
    merged: dict[str, str] = {}
    for name, value in headers:
        if name.lower() == "vary":
            merged.update({token.strip().lower(): token.strip() for token in value.split(",")})
        else:
            others.append((name, value))
    for token in names:
        merged.setdefault(token.lower(), token)
    merged.pop("", None)
    if not merged:
        return others
    return [*others, ("Vary", "*" if "*" in merged else ", ".join(merged.values()))]
