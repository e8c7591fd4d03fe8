"""Administration on the whole gateway: keys, tenants, breakers, cache; and who may."""

from __future__ import annotations

import pytest
from deployment import ADMIN, ADMIN_TOKEN, Deployment
from sample_things import CONFIG, SERVICES, new_key, things_deployment


@pytest.fixture
def gateway() -> Deployment:
    return things_deployment()


async def test_a_key_brings_its_tenant_tier_and_scopes(gateway: Deployment) -> None:
    refused = await gateway.send("GET", "/secret/who")
    assert refused.status == 401
    plain = await gateway.send("GET", "/secret/who", headers=await new_key(gateway))
    assert (plain.status, plain.json["type"]) == (403, "/problems/insufficient-scope")
    key = await new_key(gateway, tier="pro", scopes=["things:read"])
    allowed = await gateway.send("GET", "/secret/who", headers=key)
    assert allowed.json == {"tenant": "acme", "tier": "pro", "scopes": ["things:read"]}


async def test_a_revoked_key_stops_working_within_the_verdicts_lifetime(
    gateway: Deployment,
) -> None:
    key = await new_key(gateway)
    assert (await gateway.send("GET", "/things/who", headers=key)).status == 200
    listed = (await gateway.send("GET", "/api/keys", headers=ADMIN)).json["keys"]
    revoked = await gateway.send("DELETE", f"/api/keys/{listed[0]['id']}", headers=ADMIN)
    assert revoked.json["revoked"] is True
    gateway.clock.advance(5)
    assert (await gateway.send("GET", "/things/who", headers=key)).status == 401


async def test_a_rotated_key_works_beside_the_old_one_for_the_grace(gateway: Deployment) -> None:
    old = await new_key(gateway)
    key_id = (await gateway.send("GET", "/api/keys", headers=ADMIN)).json["keys"][0]["id"]
    rotated = await gateway.send(
        "POST", f"/api/keys/{key_id}/rotate", {"graceS": 60}, headers=ADMIN
    )
    new = {"X-API-Key": rotated.json["key"]}
    assert (await gateway.send("GET", "/things/who", headers=old)).status == 200
    gateway.clock.advance(61)
    assert (await gateway.send("GET", "/things/who", headers=old)).status == 401
    assert (await gateway.send("GET", "/things/who", headers=new)).status == 200


async def test_no_secret_is_listed_or_stored(gateway: Deployment) -> None:
    key = (await new_key(gateway))["X-API-Key"]
    listed = await gateway.send("GET", "/api/keys", headers=ADMIN)
    secret = key.split("_")[-1]
    assert secret not in listed.body.decode()
    rows = gateway.gateways.storages["$control"].sql.exec("SELECT record FROM api_keys").toArray()
    assert secret not in str(rows)


@pytest.mark.parametrize("wrong", [{"tier": "gold"}, {"tenant": "acme\n"}, {"tenant": "$control"}])
async def test_no_key_is_made_that_could_not_work(
    gateway: Deployment, wrong: dict[str, str]
) -> None:
    made = await gateway.send("POST", "/api/keys", {"tenant": "acme", **wrong}, headers=ADMIN)
    assert made.status == 400
    assert (await gateway.send("GET", "/api/keys", headers=ADMIN)).json["keys"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/circuit-breaker/reset/things"),
        ("POST", "/api/circuit-breaker/force/things"),
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("PUT", "/api/tenants/acme"),
    ],
)
async def test_administration_needs_the_admin_token(
    gateway: Deployment, method: str, path: str
) -> None:
    body = None if method == "GET" else {}
    assert (await gateway.send(method, path, body)).status == 401
    wrong = {"Authorization": "Bearer not-the-token"}
    assert (await gateway.send(method, path, body, headers=wrong)).status == 401
    key = await new_key(gateway)
    assert (await gateway.send(method, path, body, headers=key)).status == 403
    gateway.env.GATEWAY_ADMIN_TOKEN = ""  # type: ignore[attr-defined]  # a bag of variables
    off = await gateway.send(method, path, body, headers=key)
    assert (off.status, off.json["type"]) == (403, "/problems/admin-disabled")


async def test_an_operator_can_force_and_reset_a_breaker(gateway: Deployment) -> None:
    tenant = {"headers": ADMIN}
    forced = await gateway.send(
        "POST", "/api/circuit-breaker/force/things", {"state": "open"}, headers=ADMIN
    )
    assert forced.json == {"state": "open", "service": "things"}
    assert (await gateway.send("GET", "/things/plain", **tenant)).status == 503
    reset = await gateway.send("POST", "/api/circuit-breaker/reset/things", headers=ADMIN)
    assert reset.json == {"reset": True, "service": "things"}
    assert (await gateway.send("GET", "/things/plain", **tenant)).status == 200
    unknown = await gateway.send("POST", "/api/circuit-breaker/reset/nope", headers=ADMIN)
    assert unknown.status == 404


async def test_a_tenants_tier_can_be_set_at_run_time(gateway: Deployment) -> None:
    key = await new_key(gateway)
    put = await gateway.send("PUT", "/api/tenants/acme", {"tier": "pro"}, headers=ADMIN)
    assert (put.status, put.json["tier"]) == (200, "pro")
    assert (await gateway.send("GET", "/things/who", headers=key)).json["tier"] == "pro"
    bad = await gateway.send("PUT", "/api/tenants/acme", {"tier": "gold"}, headers=ADMIN)
    assert bad.status == 400


@pytest.mark.parametrize("tenant", ["%24control", "a%20b", "-a", "x" * 129])
async def test_a_tenant_needs_a_valid_id(gateway: Deployment, tenant: str) -> None:
    put = await gateway.send("PUT", f"/api/tenants/{tenant}", {"tier": "pro"}, headers=ADMIN)
    assert put.status == 400


async def test_a_misspelt_member_of_a_tenant_is_refused(gateway: Deployment) -> None:
    put = await gateway.send("PUT", "/api/tenants/acme", {"tierr": "pro"}, headers=ADMIN)
    assert put.status == 400


async def test_an_operator_reaches_the_breakers_of_any_tenant(gateway: Deployment) -> None:
    key = await new_key(gateway)
    force = "/api/circuit-breaker/force/things?tenant=acme"
    await gateway.send("POST", force, {"state": "open"}, headers=ADMIN)
    assert (await gateway.send("GET", "/things/plain", headers=key)).status == 503
    status = await gateway.send("GET", "/api/circuit-breaker/status?tenant=acme", headers=ADMIN)
    assert status.json["things"]["state"] == "open"
    await gateway.send("POST", "/api/circuit-breaker/reset/things?tenant=acme", headers=ADMIN)
    assert (await gateway.send("GET", "/things/plain", headers=key)).status == 200


async def test_the_cache_can_be_cleared_with_a_credential() -> None:
    routes = {"/things/*": {"service": "things", "cache": {"scope": "tenant"}}}
    gateway = Deployment({**CONFIG, "routes": routes}, SERVICES)
    key = await new_key(gateway)
    await gateway.send("GET", "/things/fresh", headers=key)
    assert (await gateway.send("POST", "/api/cache/clear")).status == 401
    cleared = await gateway.send("POST", "/api/cache/clear", {"tag": "fresh"}, headers=key)
    assert cleared.json == {"cleared": 1}
    stats = await gateway.send("GET", "/api/cache/stats", headers=key)
    assert (stats.json["total"], stats.json["misses"]) == (0, 1)


def test_the_admin_token_is_never_logged(gateway: Deployment) -> None:
    assert ADMIN_TOKEN not in str(gateway.events)
