"""What the entry point established about a request, as it travels to the tenant's gateway object.

The entry point strips `X-Gateway-Context` from what clients send and writes its own, so the gateway
object believes it; a request without it did not come through the entry point and is refused.
"""

from __future__ import annotations

import json

import msgspec

from dohost.clock import Entropy
from dohost.gateway.caller import Caller
from dohost.gateway.config import GatewayConfig
from dohost.gateway.config_tables import Tier
from dohost.gateway.principal import Principal

NS_PER_MS = 1_000_000


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls and for whom: the verdicts of authentication and tenancy."""

    tenant: str
    tier: str
    plan: Tier
    source: str
    limit_key: str
    principal: Principal
    request_id: str
    traceparent: str
    client_ip: str
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
        request_id=entropy.token(16).hex(),
        traceparent=f"00-{entropy.token(16).hex()}-{entropy.token(8).hex()}-00",
        client_ip="",
        deadline_ms=now_ns // NS_PER_MS + config.limits.timeout_ms,
    )


_decoder = msgspec.json.Decoder(Identity)


def encode_identity(identity: Identity) -> str:
    """Return the header's value: ASCII JSON on one line."""
    text = msgspec.json.encode(identity)
    return text.decode() if text.isascii() else json.dumps(json.loads(text))


def decode_identity(text: str) -> Identity:
    """Return the identity that `encode_identity` wrote."""
    return _decoder.decode(text)
