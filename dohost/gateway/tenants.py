"""Tenant and tier: derived from the credential first, from headers only where they are trusted.

Order: API key, verified JWT, client certificate, host, trusted headers, anonymous. A tier is looked
up by tenant on our side; a credential's own tier is what its issuer was trusted to say. A header can
never move a credential to another tenant unless it may impersonate. `demo` believes headers of a
loopback peer, so that tiers can be tried with curl.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from dohost.gateway.config import GatewayConfig
from dohost.gateway.config_tables import TenantConfig, Tier
from dohost.gateway.principal import Principal
from dohost.gateway.problems import Problem, problem
from dohost.gateway.tenant_id import is_tenant_id
from dohost.memo import Memo

ANONYMOUS_TENANT = "anonymous"
ANONYMOUS_SHARDS = 16
IMPERSONATE = "tenant:impersonate"
TENANT_HEADER, TIER_HEADER = "x-tenant-id", "x-tier"
Source = Literal["admin", "api-key", "jwt", "mtls", "host", "header", "demo", "anonymous"]
NO_TENANTS: Mapping[str, TenantConfig] = {}

ADDRESSES_MEMOISED_MAX = 8_192
# Clients come again and again from the same addresses, and parsing one costs more than a whole stage.
_ADDRESSES: Memo[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = Memo(
    entries_max=ADDRESSES_MEMOISED_MAX
)
_KEYS: Memo[str] = Memo(entries_max=ADDRESSES_MEMOISED_MAX)
_SPREADS: Memo[int] = Memo(entries_max=ADDRESSES_MEMOISED_MAX)


class Tenancy(Struct, frozen=True, kw_only=True):
    """A request's tenant; `shard` is the gateway object's name, `limit_key` the bucket's key."""

    tenant: str
    tier: str
    plan: Tier
    source: Source
    shard: str
    limit_key: str
    warnings: tuple[str, ...] = ()


class PeerFacts(Struct, frozen=True, kw_only=True):
    """What the server says about the connection."""

    client_ip: str
    host: str = ""
    mtls_subject: str | None = None


class Claim(Struct, frozen=True):
    """A tenant, where its name came from, and a tier that came along."""

    tenant: str
    source: Source
    tier: str | None = None


def derive_tenant(
    config: GatewayConfig,
    principal: Principal,
    *,
    headers: Mapping[str, str],
    peer: PeerFacts,
    runtime: Mapping[str, TenantConfig] = NO_TENANTS,
) -> Tenancy | Problem:
    """Return whose request it is; `runtime` are tenants made at runtime. Header names in lower case."""
    claim = claim_of(config, principal, headers=headers, peer=peer)
    if isinstance(claim, Problem):
        return claim
    if not is_tenant_id(claim.tenant):
        return problem("invalid-token", "The credential names no valid tenant.")
    known = config.tenants.get(claim.tenant) or runtime.get(claim.tenant)
    if known is not None and known.disabled:
        return problem("tenant-disabled")
    return tenancy_of(config, claim, known=known, peer=peer)


def claim_of(
    config: GatewayConfig, principal: Principal, *, headers: Mapping[str, str], peer: PeerFacts
) -> Claim | Problem:
    """Return the first source that names a tenant, having checked that no header contradicts it."""
    proven = proven_claim(config, principal, peer=peer)
    asked, tier = headers.get(TENANT_HEADER), headers.get(TIER_HEADER)
    trust = header_trust(config, peer)
    if proven is not None and proven.source in ("api-key", "jwt"):
        if asked is None or asked == proven.tenant:
            return Claim(
                proven.tenant, proven.source, tier if trust == "demo" and tier else proven.tier
            )
        if IMPERSONATE in principal.scopes:
            return Claim(asked, "header")
        return problem("tenant-mismatch")
    if proven is not None:
        return proven
    if trust is None:
        if config.tenancy.untrusted_headers == "refuse" and (asked is not None or tier is not None):
            return problem("untrusted-header")
        return Claim(ANONYMOUS_TENANT, "anonymous")
    if asked is not None:
        return Claim(asked, trust, tier)
    return Claim(ANONYMOUS_TENANT, "anonymous", tier)


def proven_claim(config: GatewayConfig, principal: Principal, *, peer: PeerFacts) -> Claim | None:
    """Return the tenant that credential, certificate or host prove."""
    if principal.tenant is not None and principal.kind == "admin":
        return Claim(principal.tenant, "admin")
    if principal.tenant is not None and principal.kind in ("api-key", "jwt"):
        source: Source = "api-key" if principal.kind == "api-key" else "jwt"
        return Claim(principal.tenant, source, principal.tier)
    by_certificate = config.tenancy.mtls_subjects.get(peer.mtls_subject or "")
    if by_certificate is not None:
        return Claim(by_certificate, "mtls")
    by_host = config.tenancy.hosts.get(peer.host.lower())
    return None if by_host is None else Claim(by_host, "host")


def header_trust(config: GatewayConfig, peer: PeerFacts) -> Literal["header", "demo"] | None:
    """Return why tenant headers of this peer are believed, or `None`."""
    address = parsed_address(peer.client_ip)
    if address is None:
        return None
    if config.tenancy.trust_tenant_headers:
        networks = map(ipaddress.ip_network, config.tenancy.trusted_proxies)
        if any(address in network for network in networks if network.version == address.version):
            return "header"
    return "demo" if config.demo and address.is_loopback else None


def tenancy_of(
    config: GatewayConfig, claim: Claim, *, known: TenantConfig | None, peer: PeerFacts
) -> Tenancy:
    """Return the tenant with its plan, its gateway object and its bucket."""
    anonymous = claim.source == "anonymous"
    default = config.tenancy.anonymous_tier if anonymous else "free"
    tier = claim.tier or (default if known is None else known.tier)
    warnings: tuple[str, ...] = ()
    if tier not in config.rate_limits:
        warnings = (f"unknown tier {tier[:64]!r}, counted as free",)
        tier = "free"
    own = None if known is None else known.limits
    address = ip_key(peer.client_ip)
    return Tenancy(
        tenant=claim.tenant,
        tier=tier,
        plan=sharded(own or config.rate_limits[tier], 1 if anonymous else shards_of(config)),
        source=claim.source,
        shard=shard_of(config, claim, address=address),
        limit_key=f"ip:{address}" if anonymous else f"tenant:{claim.tenant}",
        warnings=warnings,
    )


def shards_of(config: GatewayConfig) -> int:
    """Return over how many objects each tenant is spread."""
    return config.shards if config.sharding == "tenant" else 1


def shard_of(config: GatewayConfig, claim: Claim, *, address: str) -> str:
    """Return the name of the gateway object; "$" and "~" can't occur in a tenant's id."""
    if config.sharding == "single":
        return "main"
    if claim.source == "anonymous":
        return f"$anon-{spread(address, ANONYMOUS_SHARDS):02x}"
    if config.shards == 1:
        return claim.tenant
    return f"{claim.tenant}~{spread(address, config.shards):02x}"


def spread(address: str, count: int) -> int:
    """Return a number below `count` that depends on the address alone."""
    return _SPREADS.get_or_make(address, lambda: _spread(address)) % count


def _spread(address: str) -> int:
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:8], "big")


def sharded(plan: Tier, shards: int) -> Tier:
    """Return one shard's part of a plan."""
    if shards == 1:
        return plan
    rpm = plan.rpm and max(1, plan.rpm // shards)
    return msgspec.structs.replace(plan, rpm=rpm, burst=max(1, plan.burst // shards))


def ip_key(client_ip: str) -> str:
    """Return the bucket key of an address: an IPv6 network counts by its /64."""
    return _KEYS.get_or_make(client_ip, lambda: _ip_key(client_ip))


def _ip_key(client_ip: str) -> str:
    address = parsed_address(client_ip)
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def parsed_address(
    client_ip: str,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4 one also where it is written inside IPv6."""
    return _ADDRESSES.get_or_make(client_ip, lambda: _parsed_address(client_ip))


def _parsed_address(
    client_ip: str,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
