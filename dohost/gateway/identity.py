"""What the entry point established about a request, as it travels to the tenant's gateway object.

The entry point strips `X-Gateway-Context` from what clients send and writes its own, so the gateway
object believes it; a request without it did not come through the entry point and is refused.

The header is `<request id> <traceparent> <deadline> <standing>`: what is new in each request, and then
as JSON what stays the same for a caller, so that either side reads or writes that part once.
"""

from __future__ import annotations

import json

import msgspec

from dohost.clock import Entropy
from dohost.gateway.caller import Caller
from dohost.gateway.config import GatewayConfig
from dohost.gateway.config_tables import Tier
from dohost.gateway.principal import Principal
from dohost.memo import Memo

NS_PER_MS = 1_000_000


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls and for whom: the verdicts of authentication and tenancy."""

    tenant: str
    tier: str
    plan: Tier
    source: str
    limit_key: str
    principal: Principal
    client_ip: str


class Identity(Standing, frozen=True, kw_only=True):
    """A caller's standing in one request."""

    request_id: str
    traceparent: str
    deadline_ms: int

    def caller(self) -> Caller:
        """Return what services are told."""
        return Caller(
            tenant=self.tenant,
            subject=self.principal.subject,
            tier=self.tier,
            scopes=tuple(sorted(self.principal.scopes)),
            request_id=self.request_id,
            deadline_ms=self.deadline_ms,
            traceparent=self.traceparent,
        )


def local_identity(
    config: GatewayConfig, *, tenant: str, now_ns: int, entropy: Entropy
) -> Identity:
    """Return the identity of a gateway object that calls on its own behalf, not a client's."""
    known = config.tenants.get(tenant)
    tier = known.tier if known is not None else config.tenancy.anonymous_tier
    return Identity(
        tenant=tenant,
        tier=tier,
        plan=(known.limits if known is not None else None) or config.rate_limits[tier],
        source="local",
        limit_key=f"tenant:{tenant}",
        principal=Principal(kind="admin", subject=None, tenant=tenant),
        request_id=f"{entropy.bits(128):032x}",
        traceparent=f"00-{entropy.bits(128) or 1:032x}-{entropy.bits(64) or 1:016x}-00",
        client_ip="",
        deadline_ms=now_ns // NS_PER_MS + config.limits.timeout_ms,
    )


STANDINGS_MEMOISED_MAX = 4_096
_decoder = msgspec.json.Decoder(Standing)
_known: Memo[Identity] = Memo(entries_max=STANDINGS_MEMOISED_MAX)


def encode_standing(standing: Standing) -> str:
    """Return the part of the header that stays the same: ASCII JSON on one line."""
    text = msgspec.json.encode(standing)
    return text.decode() if text.isascii() else json.dumps(json.loads(text))


def encode_context(standing: str, *, request_id: str, traceparent: str, deadline_ms: int) -> str:
    """Return the header's value; `standing` is what `encode_standing` wrote."""
    return f"{request_id} {traceparent} {deadline_ms} {standing}"


def decode_context(text: str) -> tuple[Identity, str]:
    """Return the identity that `encode_context` wrote, and the standing in it as it was written.

    Raises: ValueError for a text that it did not write.
    """
    request_id, traceparent, deadline_ms, standing = text.split(" ", 3)
    known = _known.get(standing)
    if known is None:
        known = _decode_standing(standing)
        _known.put(standing, known)
    identity = msgspec.structs.replace(
        known, request_id=request_id, traceparent=traceparent, deadline_ms=int(deadline_ms)
    )
    return identity, standing


def _decode_standing(text: str) -> Identity:
    standing = _decoder.decode(text)
    fields = {name: getattr(standing, name) for name in standing.__struct_fields__}
    return Identity(**fields, request_id="", traceparent="", deadline_ms=0)
