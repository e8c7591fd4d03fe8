"""Who calls, on whose behalf and until when: what the gateway tells each service object.

Between the gateway and a service it travels as plain data (RPC) or as the header `X-Gateway-Context`
(REST); the entry point strips that header from what clients send, so that only the gateway speaks in it.
"""

from __future__ import annotations

import json
from contextvars import ContextVar

import msgspec

CONTEXT_HEADER = "X-Gateway-Context"
PREFIX_HEADER = "X-Forwarded-Prefix"
PER_REQUEST = frozenset({"request_id", "deadline_ms", "traceparent"})


class Caller(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The identity and the limits under which a call runs; `deadline_ms` is Unix time."""

    tenant: str = "anonymous"
    subject: str | None = None
    tier: str = "free"
    scopes: tuple[str, ...] = ()
    request_id: str = ""
    deadline_ms: int | None = None
    traceparent: str | None = None

    def to_plain(self) -> dict[str, object]:
        """Return what RPC can carry: no tuples."""
        plain: dict[str, object] = {"tenant": self.tenant, "tier": self.tier}
        plain["request_id"] = self.request_id
        if self.subject is not None:
            plain["subject"] = self.subject
        if self.scopes:
            plain["scopes"] = list(self.scopes)
        if self.deadline_ms is not None:
            plain["deadline_ms"] = self.deadline_ms
        if self.traceparent is not None:
            plain["traceparent"] = self.traceparent
        return plain


NOBODY = Caller()
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=NOBODY)
_decoder = msgspec.json.Decoder(Caller)


def caller_from_plain(plain: object) -> Caller:
    """Return the caller that an RPC's context describes."""
    return msgspec.convert(plain, Caller) if plain else NOBODY


def caller_from_header(text: str | None) -> Caller:
    """Return the caller that the gateway's header describes; nobody without it."""
    return _decoder.decode(text) if text else NOBODY


def encode_header(caller: Caller) -> str:
    """Return a caller as the header's value: ASCII JSON on one line."""
    return _encode(caller.to_plain())


def encode_header_start(caller: Caller) -> str:
    """Return the part of the header that is the same in each of a caller's requests."""
    plain = caller.to_plain()
    lasting = {name: plain[name] for name in plain if name not in PER_REQUEST}
    return _encode(lasting).removesuffix("}")


def encode_header_end(*, request_id: str, deadline_ms: int, traceparent: str) -> str:
    """Return the rest of the header: ids of our own making or checking, with nothing to escape."""
    return (
        f',"request_id":"{request_id}","deadline_ms":{deadline_ms},"traceparent":"{traceparent}"}}'
    )


def _encode(plain: dict[str, object]) -> str:
    text = msgspec.json.encode(plain)
    return text.decode() if text.isascii() else json.dumps(plain)
