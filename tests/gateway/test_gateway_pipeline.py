"""The whole gateway on the fakes: stages, status pages, administration, hostile input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deployment import ADMIN, ADMIN_TOKEN, Deployment
from workers import Request, Response

from dohost.gateway import Service, ServiceError, expose

CONFIG: dict[str, object] = {
    "services": {
        "things": {"binding": "THING_DO", "scope": "shared"},
        "owned": {"binding": "OWNED_DO", "object": "{id}"},
        "raw": {"binding": "RAW_DO", "scope": "shared", "aggregate": False},
    },
    "routes": {
        "/things/*": "things",
        "GET /owned/{id}": {"service": "owned", "rewrite": "/{id}"},
        "/raw/*": "raw",
        "GET /secret/*": {"service": "things", "scopes": ["things:read"]},
    },
    "rate_limits": {"free": {"rpm": 600, "burst": 100}},
    "circuit_breaker": {"threshold": 3, "timeout_ms": 30000, "half_open_max": 2},
}


class Things(Service):
    """Counts what reaches it."""

    def setup(self) -> None:
        self.seen = 0
        self.broken = False

    @expose("GET /fresh", cache=30, tags=["fresh"])
    def fresh(self) -> int:
        self.seen += 1
        return self.seen

    @expose("GET /plain")
    def plain(self) -> int:
        self.seen += 1
        return self.seen

    @expose("POST /fresh", invalidates=["fresh"])
    def renew(self) -> None:
        self.seen = 100

    @expose("GET /fragile")
    def fragile(self) -> str:
        self.seen += 1
        if self.broken:
            raise RuntimeError("a secret of the service")
        return "ok"

    @expose("GET /refused")
    def refused(self) -> None:
        raise ServiceError(409, "not-now", "Not now.")

    @expose("GET /who")
    def who(self) -> dict[str, object]:
        caller = self.caller
        return {"tenant": caller.tenant, "tier": caller.tier, "scopes": sorted(caller.scopes)}


class Owned(Service):
    """One object per id."""

    @expose("GET /{id}")
    def get(self, id: str) -> str | None:
        return self.ctx.id.name


class Raw(Service):
    """Takes requests as they come."""

    async def fetch(self, request: Request) -> Response:
        told = {"url": request.url, "headers": dict(request.headers.items())}
        return Response.json({**told, "body": await request.text()})


@pytest.fixture
def gateway() -> Deployment:
    services = {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw}
    return Deployment(CONFIG, services)


def thing(gateway: Deployment) -> Any:
    return gateway.services["THING_DO"].object("main")


async def new_key(gateway: Deployment, **grant: object) -> dict[str, str]:
    made = await gateway.send("POST", "/api/keys", {"tenant": "acme", **grant}, headers=ADMIN)
    assert made.status == 201
    return {"X-API-Key": made.json["key"]}


async def test_an_unknown_path_is_404_and_costs_a_token(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/nowhere")
    assert (reply.status, reply.json["type"]) == (404, "/problems/not-found")
    status = await gateway.send("GET", "/api/rate-limit/status")
    assert status.json["used"] == 1


async def test_every_answer_has_a_request_id(gateway: Deployment) -> None:
    given = await gateway.send("GET", "/things/plain", headers={"X-Request-Id": "a-good-id-1"})
    assert given.headers["x-request-id"] == "a-good-id-1"
    made = await gateway.send("GET", "/nowhere", headers={"X-Request-Id": "bad id"})
    assert made.json["requestId"] == made.headers["x-request-id"] != "bad id"


async def test_a_client_can_not_claim_an_identity(gateway: Deployment) -> None:
    forged = {
        "X-Gateway-Context": '{"tenant":"victim"}',
        "X_Gateway_Context": "x",
        "X-Tenant-ID": "victim",
        "X-User-Id": "root",
        "X-Forwarded-Prefix": "/elsewhere",
    }
    reply = await gateway.send("GET", "/things/who", headers=forged)
    assert reply.json == {"tenant": "anonymous", "tier": "free", "scopes": []}


async def test_a_class_with_its_own_fetch_gets_rest_and_prefix(gateway: Deployment) -> None:
    reply = await gateway.send(
        "POST", "/raw/a/b?c=d", "hello", headers={"Connection": "x-hop", "X-Hop": "1"}
    )
    assert reply.json["url"] == "http://raw/a/b?c=d"
    assert reply.json["body"] == "hello"
    headers = {name.lower() for name in reply.json["headers"]}
    assert {"x-forwarded-prefix", "x-gateway-context"} <= headers
    assert not headers & {"connection", "x-hop", "host"}


async def test_the_gateway_object_refuses_requests_that_bypass_the_entry(
    gateway: Deployment,
) -> None:
    direct = await gateway.gateways.object("acme").fetch(Request("http://x/things/plain"))
    assert direct.status == 403


async def test_an_object_template_names_the_object_and_the_tenant_prefixes_it(
    gateway: Deployment,
) -> None:
    reply = await gateway.send("GET", "/owned/a%20b", headers=await new_key(gateway))
    assert reply.json == "acme/a%20b"


async def test_a_fresh_answer_comes_from_the_cache_until_it_is_stale(gateway: Deployment) -> None:
    first = await gateway.send("GET", "/things/fresh")
    again = await gateway.send("GET", "/things/fresh")
    assert (first.json, again.json) == (1, 1)
    assert "stored" in first.headers["cache-status"]
    assert again.headers["cache-status"].startswith("dohost;hit")
    assert again.headers["age"] == "0"
    gateway.clock.advance(31)
    assert (await gateway.send("GET", "/things/fresh")).json == 2


async def test_a_write_invalidates_what_it_names(gateway: Deployment) -> None:
    await gateway.send("GET", "/things/fresh")
    assert (await gateway.send("POST", "/things/fresh")).status == 204
    assert (await gateway.send("GET", "/things/fresh")).json == 101


async def test_tenants_do_not_share_cached_answers(gateway: Deployment) -> None:
    key = await new_key(gateway)
    assert (await gateway.send("GET", "/things/fresh")).json == 1
    assert (await gateway.send("GET", "/things/fresh", headers=key)).json == 2


async def test_only_if_cached_on_a_miss_is_504(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/things/plain", headers={"Cache-Control": "only-if-cached"})
    assert reply.status == 504


async def test_failures_open_the_breaker_and_probes_close_it(gateway: Deployment) -> None:
    assert (await gateway.send("GET", "/things/fragile")).status == 200
    thing(gateway).broken = True
    for _ in range(3):
        failed = await gateway.send("GET", "/things/fragile")
        assert (failed.status, failed.json["type"]) == (500, "/problems/internal-error")
        assert "secret" not in failed.body.decode()
    before = thing(gateway).seen
    rejected = await gateway.send("GET", "/things/fragile")
    assert (rejected.status, rejected.json["type"]) == (503, "/problems/circuit-open")
    assert rejected.headers["retry-after"] == "30"
    assert thing(gateway).seen == before
    gateway.gateways.restart()
    assert (await gateway.send("GET", "/things/fragile")).status == 503
    thing(gateway).broken = False
    gateway.clock.advance(30)
    for _ in range(2):
        assert (await gateway.send("GET", "/things/fragile")).status == 200
    status = await gateway.send("GET", "/api/circuit-breaker/status")
    assert status.json["things"]["state"] == "closed"


async def test_deliberate_failures_never_open_the_breaker(gateway: Deployment) -> None:
    for _ in range(10):
        assert (await gateway.send("GET", "/things/refused")).status == 409
        assert (await gateway.send("GET", "/things/nope")).status == 404
    status = await gateway.send("GET", "/api/circuit-breaker/status")
    assert status.json["things"] == {
        "state": "closed",
        "failures": 0,
        "lastFailure": None,
        "halfOpenAttempts": 0,
        "openedAt": None,
        "retryAt": None,
    }


async def test_the_failure_is_logged_with_its_cause(gateway: Deployment) -> None:
    await gateway.send("GET", "/things/plain")
    thing(gateway).broken = True
    await gateway.send("GET", "/things/fragile")
    (event,) = [each for each in gateway.events if each.name == "upstream.failed"]
    assert "a secret of the service" in str(event.fields["cause"])


async def test_the_burst_is_a_limit_that_survives_a_restart() -> None:
    config = {**CONFIG, "rate_limits": {"free": {"rpm": 60, "burst": 3}}}
    gateway = Deployment(config, {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw})
    statuses = [(await gateway.send("GET", "/things/plain")).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    gateway.gateways.restart()
    refused = await gateway.send("GET", "/things/plain")
    assert refused.status == 429
    assert refused.json["error"] == "Rate limit exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    other = await gateway.send("GET", "/things/plain", ip="203.0.113.99")
    assert other.status == 200


async def test_looking_at_the_limit_consumes_nothing(gateway: Deployment) -> None:
    for _ in range(5):
        status = await gateway.send("GET", "/api/rate-limit/status")
    assert (status.json["remaining"], status.json["used"]) == (100, 0)


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


async def test_the_cache_can_be_cleared_with_a_credential() -> None:
    routes = {"/things/*": {"service": "things", "cache": {"scope": "tenant"}}}
    services = {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw}
    gateway = Deployment({**CONFIG, "routes": routes}, services)
    key = await new_key(gateway)
    await gateway.send("GET", "/things/fresh", headers=key)
    assert (await gateway.send("POST", "/api/cache/clear")).status == 401
    cleared = await gateway.send("POST", "/api/cache/clear", {"tag": "fresh"}, headers=key)
    assert cleared.json == {"cleared": 1}
    stats = await gateway.send("GET", "/api/cache/stats", headers=key)
    assert (stats.json["total"], stats.json["misses"]) == (0, 1)


async def test_explain_tells_everything_and_consumes_nothing(gateway: Deployment) -> None:
    reply = await gateway.send("POST", "/api/explain", {"path": "/things/fresh?x=1"})
    told = reply.json
    assert told["route"]["service"] == "things"
    assert told["upstream"]["object"] == "main"
    assert told["cache"]["verdict"] == "miss"
    assert told["breaker"]["state"] == "closed"
    assert told["limiter"]["remaining"] == 100
    assert gateway.services["THING_DO"].calls == []
    nothing = await gateway.send("POST", "/api/explain", {"path": "/nowhere"})
    assert (nothing.json["route"], nothing.json["outcome"]) == (None, "NotFound")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/problems/circuit-open", "text/html"),
        ("/openapi.json", "application/json"),
        ("/metrics", "text/plain"),
        ("/health", "application/json"),
        ("/health/live", "application/json"),
        ("/health/ready", "application/json"),
        ("/api/versions", "application/json"),
        ("/api/circuit-breaker/status", "application/json"),
    ],
)
async def test_the_built_in_pages_answer(gateway: Deployment, path: str, content_type: str) -> None:
    reply = await gateway.send("GET", path)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(content_type)
    head = await gateway.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")


async def test_openapi_describes_exposed_methods_and_nothing_hidden(gateway: Deployment) -> None:
    document = (await gateway.send("GET", "/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]["/things/fresh"]) == {"get", "post"}
    assert "setup" not in json.dumps(document)


async def test_built_in_paths_can_be_moved_out_of_the_way() -> None:
    config = {**CONFIG, "builtin_prefix": "/_gateway", "routes": {"/*": "raw"}}
    gateway = Deployment(config, {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw})
    assert (await gateway.send("GET", "/_gateway/health")).json["status"] == "ok"
    assert (await gateway.send("GET", "/health")).json["url"] == "http://raw/health"


async def test_preflights_are_answered_before_authentication() -> None:
    config = {**CONFIG, "cors": {"origins": ["https://app.example"]}, "auth": {"anonymous": "none"}}
    gateway = Deployment(config, {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw})
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    preflight = await gateway.send("OPTIONS", "/things/plain", headers=asks)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    refused = await gateway.send("GET", "/things/plain", headers={"Origin": "https://app.example"})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/things/%ff", 400),
        ("/things/a%2fb", 400),
        ("/things/%00", 400),
        ("/things/" + "a" * 9_000, 414),
    ],
)
async def test_paths_that_parsers_read_differently_are_refused(
    gateway: Deployment, path: str, status: int
) -> None:
    reply = await gateway.send("GET", path)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"


async def test_oversized_headers_and_bodies_are_refused(gateway: Deployment) -> None:
    big = await gateway.send("GET", "/things/plain", headers={"X-Big": "x" * 20_000})
    assert big.status == 431
    declared = {"Content-Length": str(2_000_000)}
    assert (await gateway.send("POST", "/raw/x", "x", headers=declared)).status == 413
    assert (await gateway.send("POST", "/raw/x", "x" * 1_100_000)).status == 413


async def test_hooks_see_requests_and_answers(gateway: Deployment) -> None:
    owner = gateway.gateways.object("$anon-hooks")

    async def stop(exchange: object) -> Response:
        return Response("stopped", status=418)

    owner.on_request = stop
    gateway.gateways.objects = dict.fromkeys([f"$anon-{n:02x}" for n in range(16)], owner)
    reply = await gateway.send("GET", "/things/plain")
    assert (reply.status, reply.body) == (418, b"stopped")


def test_the_admin_token_is_never_logged(gateway: Deployment) -> None:
    assert ADMIN_TOKEN not in str(gateway.events)
