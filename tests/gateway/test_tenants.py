"""Where a tenant comes from, and where it can't."""

from __future__ import annotations

import pytest

from dohost.gateway.config import GatewayConfig, decode
from dohost.gateway.config_tables import TenantConfig, Tier
from dohost.gateway.principal import ANONYMOUS, Principal
from dohost.gateway.problems import Problem
from dohost.gateway.tenant_id import is_tenant_id
from dohost.gateway.tenants import PeerFacts, Tenancy, derive_tenant, ip_key

KEY = Principal(kind="api-key", subject="key:1", tenant="acme", tier="pro")
JWT = Principal(kind="jwt", subject="alice", tenant="acme")
PEER = PeerFacts(client_ip="203.0.113.7", host="api.example")


def config(**tables: object) -> GatewayConfig:
    made = decode({"GATEWAY": tables})
    assert isinstance(made, GatewayConfig), made
    return made


def derived(
    principal: Principal = ANONYMOUS,
    *,
    headers: dict[str, str] | None = None,
    peer: PeerFacts = PEER,
    made: GatewayConfig | None = None,
) -> Tenancy:
    found = derive_tenant(made or config(), principal, headers=headers or {}, peer=peer)
    assert isinstance(found, Tenancy), found
    return found


def refused(principal: Principal, headers: dict[str, str], made: GatewayConfig) -> Problem:
    found = derive_tenant(made, principal, headers=headers, peer=PEER)
    assert isinstance(found, Problem)
    return found


def test_a_key_names_its_tenant_and_tier() -> None:
    found = derived(KEY)
    assert (found.tenant, found.tier, found.source, found.shard) == (
        "acme",
        "pro",
        "api-key",
        "acme",
    )
    assert found.plan == Tier(rpm=10_000, burst=200)
    assert found.limit_key == "tenant:acme"


def test_a_token_names_its_tenant_and_we_look_up_the_tier() -> None:
    assert derived(JWT).tier == "free"
    made = config(tenants={"acme": "starter"})
    assert derived(JWT, made=made).tier == "starter"
    runtime = {"acme": TenantConfig(tier="pro")}
    found = derive_tenant(made, JWT, headers={}, peer=PEER, runtime=runtime)
    assert isinstance(found, Tenancy)
    assert found.tier == "starter"


def test_limits_of_a_tenants_own_replace_the_plans() -> None:
    made = config(tenants={"acme": {"tier": "pro", "limits": {"rpm": 1, "burst": 1}}})
    assert derived(JWT, made=made).plan == Tier(rpm=1, burst=1)


def test_anonymous_traffic_is_spread_by_address_and_limited_by_it() -> None:
    found = derived()
    assert (found.tenant, found.tier, found.source) == ("anonymous", "free", "anonymous")
    assert found.limit_key == "ip:203.0.113.7"
    shards = {derived(peer=PeerFacts(client_ip=f"198.51.100.{n}")).shard for n in range(256)}
    assert shards == {f"$anon-{n:02x}" for n in range(16)}


def test_certificate_and_host_come_before_headers() -> None:
    made = config(tenancy={"hosts": {"api.example": "byhost"}, "mtls_subjects": {"CN=x": "bycert"}})
    assert derived(made=made).source == "host"
    peer = PeerFacts(client_ip="1.2.3.4", host="api.example", mtls_subject="CN=x")
    assert derived(made=made, peer=peer).tenant == "bycert"
    assert derived(KEY, made=made, peer=peer).tenant == "acme"


TRUSTING = {"tenancy": {"trust_tenant_headers": True, "trusted_proxies": ["203.0.113.0/24"]}}


def test_headers_count_only_from_a_trusted_proxy() -> None:
    headers = {"x-tenant-id": "acme", "x-tier": "pro"}
    assert derived(headers=headers).tenant == "anonymous"
    assert derived(headers=headers).tier == "free"
    found = derived(headers=headers, made=config(**TRUSTING))
    assert (found.tenant, found.tier, found.source) == ("acme", "pro", "header")
    elsewhere = PeerFacts(client_ip="192.0.2.1")
    assert derived(headers=headers, made=config(**TRUSTING), peer=elsewhere).tenant == "anonymous"
    twin = {"x_tenant_id": "acme"}
    assert derived(headers=twin, made=config(**TRUSTING)).tenant == "anonymous"


def test_untrusted_headers_can_be_refused() -> None:
    made = config(tenancy={"untrusted_headers": "refuse"})
    assert refused(ANONYMOUS, {"x-tier": "pro"}, made).status == 400


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_demo_believes_headers_of_a_loopback_peer_only(address: str) -> None:
    headers = {"x-tenant-id": "acme", "x-tier": "pro"}
    made = config(demo=True)
    found = derived(headers=headers, made=made, peer=PeerFacts(client_ip=address))
    assert (found.tenant, found.tier, found.source) == ("acme", "pro", "demo")
    tier_only = derived(headers={"x-tier": "pro"}, made=made, peer=PeerFacts(client_ip=address))
    assert (tier_only.tenant, tier_only.tier) == ("anonymous", "pro")
    assert derived(headers=headers, made=made).tenant == "anonymous"


def test_a_header_cannot_move_a_credential_unless_it_may_impersonate() -> None:
    assert refused(KEY, {"x-tenant-id": "other"}, config()).status == 403
    assert derived(KEY, headers={"x-tenant-id": "acme"}).tenant == "acme"
    support = Principal(kind="jwt", tenant="acme", scopes=frozenset({"tenant:impersonate"}))
    found = derived(support, headers={"x-tenant-id": "other"})
    assert (found.tenant, found.source) == ("other", "header")


def test_an_unknown_tier_counts_as_free_and_warns() -> None:
    odd = Principal(kind="jwt", tenant="acme", tier="platinum")
    found = derived(odd)
    assert (found.tier, found.plan.rpm) == ("free", 100)
    assert "platinum" in found.warnings[0]


@pytest.mark.parametrize("tenant", ["", "$control", "a/b", "a b", "-x", "x" * 129, "é", "a\n"])
def test_a_credential_cannot_name_what_is_no_tenant(tenant: str) -> None:
    assert not is_tenant_id(tenant)
    assert refused(Principal(kind="jwt", tenant=tenant), {}, config()).status == 401


def test_tenant_ids_may_be_128_characters() -> None:
    assert is_tenant_id("x" * 128)
    assert is_tenant_id("a.b_c-1")


def test_a_disabled_tenant_is_refused() -> None:
    made = config(tenants={"acme": {"disabled": True}})
    assert refused(KEY, {}, made).type.slug == "tenant-disabled"


def test_sharding_names_objects_that_no_tenant_can_name() -> None:
    assert derived(KEY, made=config(sharding="single")).shard == "main"
    split = derived(KEY, made=config(shards=4))
    assert split.shard.startswith("acme~0")
    assert not is_tenant_id(split.shard)
    assert split.plan == Tier(rpm=2_500, burst=50)


def test_addresses_count_by_host_or_by_network() -> None:
    assert ip_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert ip_key("2001:db8:1:2:3::4") == ip_key("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert ip_key("2001:db8:1:3::9") != ip_key("2001:db8:1:2::9")
    assert ip_key("nonsense") == "unknown"
