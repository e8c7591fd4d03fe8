"""The whole gateway on the fakes: stages, status pages, hostile input."""

from __future__ import annotations

import json

import pytest
from deployment import Deployment
from sample_things import CONFIG, SERVICES, new_key, thing, things_deployment
from workers import Request, Response

from dohost.gateway.exchange import Exchange


@pytest.fixture
def gateway() -> Deployment:
    return things_deployment()


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
    failed = await gateway.send("GET", "/things/fragile")
    (event,) = [each for each in gateway.events if each.name == "upstream.failed"]
    assert "a secret of the service" in str(event.fields["cause"])
    assert event.fields["request_id"] == failed.headers["x-request-id"]


async def test_an_escaped_spelling_of_a_built_in_path_is_that_path(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/%61pi/rate-limit/%73tatus")
    assert reply.json["used"] == 0
    kept = await gateway.send("POST", "/api/%6beys", {"tenant": "acme"})
    assert kept.status in (401, 403)
    assert gateway.gateways.calls[-1][0] == "$control"


async def test_a_body_in_a_content_coding_is_refused(gateway: Deployment) -> None:
    for path in ("/api/aggregate", "/graphql", "/things/fresh"):
        reply = await gateway.send("POST", path, b"{}", headers={"Content-Encoding": "gzip"})
        assert reply.status == 415


async def test_the_burst_is_a_limit_that_survives_a_restart() -> None:
    config = {**CONFIG, "rate_limits": {"free": {"rpm": 60, "burst": 3}}}
    gateway = Deployment(config, SERVICES)
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


@pytest.mark.parametrize("path", ["//[", "http://[x/", "//℀.com/x", "/x#f", ""])
async def test_explain_refuses_a_path_that_is_none(gateway: Deployment, path: str) -> None:
    reply = await gateway.send("POST", "/api/explain", {"path": path})
    assert (reply.status, reply.json["type"]) == (400, "/problems/bad-path")


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
    described = document["paths"]["/things/fresh"]
    assert set(described["get"]["responses"]) == {"200", "default"}
    assert set(described["post"]["responses"]) == {"204", "default"}


async def test_built_in_paths_can_be_moved_out_of_the_way() -> None:
    config = {**CONFIG, "builtin_prefix": "/_gateway", "routes": {"/*": "raw"}}
    gateway = Deployment(config, SERVICES)
    assert (await gateway.send("GET", "/_gateway/health")).json["status"] == "ok"
    assert (await gateway.send("GET", "/health")).json["url"] == "http://raw/health"


async def test_preflights_are_answered_before_authentication() -> None:
    config = {**CONFIG, "cors": {"origins": ["https://app.example"]}, "auth": {"anonymous": "none"}}
    gateway = Deployment(config, SERVICES)
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    preflight = await gateway.send("OPTIONS", "/things/plain", headers=asks)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert preflight.headers["x-request-id"]
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

    class Hooked(type(owner)):
        async def on_request(self, exchange: Exchange) -> Response | None:
            return Response("stopped", status=418) if exchange.path.raw == "/stop" else None

        async def on_response(self, exchange: Exchange, response: Response) -> Response:
            return Response(f"{exchange.path.raw} {response.status}", status=response.status)

    owner.__class__ = Hooked
    gateway.gateways.objects = dict.fromkeys([f"$anon-{n:02x}" for n in range(16)], owner)
    for path, status in (("/stop", 418), ("/things/plain", 200)):
        reply = await gateway.send("GET", path)
        assert (reply.status, reply.body) == (status, f"{path} {status}".encode())


async def test_which_headers_pass_is_decided_anew_where_connection_names_others(
    gateway: Deployment,
) -> None:
    for named, passes in (("x-hop", False), ("x-other", True), ("x-hop", False)):
        headers = {"Connection": named, "X-Hop": "1"}
        reply = await gateway.send("POST", "/raw/a", "hello", headers=headers)
        assert ("x-hop" in {name.lower() for name in reply.json["headers"]}) is passes


async def test_a_redirect_of_a_service_is_left_to_the_client() -> None:
    gateway = things_deployment()
    assert (await gateway.send("GET", "/raw/old")).json["redirect"] == "manual"
