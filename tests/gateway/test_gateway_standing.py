"""What the entry point remembers of callers, how it tells the gateway object, and how long it holds."""

from __future__ import annotations

import pytest
from deployment import ADMIN, Deployment
from gateway_fakes import FakeNamespace
from sample_things import Things
from workers import Request

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway import entry as entry_module
from dohost.gateway.api_keys import digest_of, key_text
from dohost.gateway.config_tables import Tier
from dohost.gateway.control_calls import ControlCalls
from dohost.gateway.entry import GatewayEntrypoint
from dohost.gateway.identity import Standing, decode_context, encode_context, encode_standing
from dohost.gateway.paths import BadPath, request_target
from dohost.gateway.principal import Principal

CONFIG: dict[str, object] = {
    "services": {"things": {"binding": "THINGS"}},
    "routes": {"/things/*": "things"},
    "auth": {"anonymous": "read"},
}


def deployment(**tables: object) -> Deployment:
    return Deployment({**CONFIG, **tables}, {"THINGS": Things})


async def new_key(gateway: Deployment, tenant: str) -> tuple[str, dict[str, str]]:
    made = (await gateway.send("POST", "/api/keys", {"tenant": tenant}, headers=ADMIN)).json
    return made["id"], {"X-API-Key": made["key"]}


def asked(namespace: FakeNamespace) -> int:
    return sum(method == "gateway_key" for _, method in namespace.calls)


async def tier_of(gateway: Deployment, tier: str | None) -> object:
    headers = {} if tier is None else {"X-Tier": tier}
    status = await gateway.send("GET", "/api/rate-limit/status", headers=headers, ip="127.0.0.1")
    return status.json["tier"]


async def test_a_caller_is_remembered_and_a_revocation_takes_effect_in_five_seconds() -> None:
    gateway = deployment()
    key_id, key = await new_key(gateway, "acme")
    gateway.clock.advance(6)
    for seconds in (0, 4):
        gateway.clock.advance(seconds)
        assert (await gateway.send("GET", "/things/who", headers=key)).status == 200
    assert asked(gateway.gateways) == 1
    assert (await gateway.send("DELETE", f"/api/keys/{key_id}", headers=ADMIN)).status < 300
    # Five seconds after the record was read, however late the caller was last remembered.
    gateway.clock.advance(1)
    assert (await gateway.send("GET", "/things/who", headers=key)).status == 401


async def test_a_lifetime_of_zero_asks_each_time() -> None:
    gateway = deployment(auth={"anonymous": "read", "verdict_ttl_s": 0})
    key_id, key = await new_key(gateway, "acme")
    for count in (1, 2):
        assert (await gateway.send("GET", "/things/who", headers=key)).status == 200
        assert asked(gateway.gateways) == count
    await gateway.send("DELETE", f"/api/keys/{key_id}", headers=ADMIN)
    assert (await gateway.send("GET", "/things/who", headers=key)).status == 401


async def test_a_remembered_key_still_expires_on_time() -> None:
    text = key_text("live", "0123456789abcdef", entropy=SeededEntropy(7))
    expires_at_s = ManualClock().realtime_ns() // 1_000_000_000 + 2
    record = {"id": "0123456789abcdef", "hash": digest_of(text, None), "tenant": "acme"}
    auth = {"anonymous": "read", "api_keys": [{**record, "expires_at_s": expires_at_s}]}
    gateway = deployment(auth=auth)
    key = {"X-API-Key": text}
    gateway.clock.advance(1)
    for _ in range(2):
        assert (await gateway.send("GET", "/things/who", headers=key)).status == 200
    gateway.clock.advance(1)
    assert (await gateway.send("GET", "/things/who", headers=key)).status == 401


async def test_whoever_shows_something_else_is_looked_at_anew() -> None:
    gateway = deployment(demo=True)
    for tier in ("pro", "starter", None, "pro"):
        assert await tier_of(gateway, tier) == (tier or "free")
    for tenant in ("acme", "globex", "acme"):
        _, key = await new_key(gateway, tenant)
        assert (await gateway.send("GET", "/things/who", headers=key)).status == 200
        assert gateway.gateways.calls[-1] == (tenant, "fetch")


async def test_an_administrators_tenant_is_read_from_each_url() -> None:
    gateway = deployment()
    for tenant in ("acme", "globex"):
        path = f"/api/rate-limit/status?tenant={tenant}"
        assert (await gateway.send("GET", path, headers=ADMIN)).json["tenant"] == tenant


async def test_a_bad_credential_is_never_remembered_as_another() -> None:
    gateway = deployment()
    assert (await gateway.send("GET", "/things/who")).status == 200
    spoof = await gateway.send("GET", "/things/who", headers={"X-API-Key": "dd_live_x"})
    assert spoof.status == 401


async def test_a_tenant_that_code_chooses_is_chosen_for_each_request() -> None:
    gateway = deployment()

    async def tenant_of(self: object, request: Request, principal: Principal) -> str | None:
        return request.headers.get("x-team")

    gateway._default = type("Chooser", (type(gateway._default),), {"tenant_of": tenant_of})(
        None, gateway.env
    )
    for team in ("red", "blue"):
        _, key = await new_key(gateway, "acme")
        await gateway.send("GET", "/things/who", headers={**key, "X-Team": team})
        assert (team, "fetch") in gateway.gateways.calls


async def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_module, "PLACES_MAX", 3)
    gateway = deployment()
    for last in range(10):
        assert (await gateway.send("GET", "/things/who", ip=f"192.0.2.{last}")).status == 200
    default = gateway._default
    assert isinstance(default, GatewayEntrypoint)
    assert len(default._shared()._places) == 3


async def test_an_answer_that_outlived_its_generation_is_not_remembered() -> None:
    clock = ManualClock()

    class Slow:
        def getByName(self, name: str) -> Slow:
            return self

        async def gateway_key(self, key_id: str) -> object:
            clock.advance(6)
            asks.append(key_id)
            return None

        async def gateway_tenant(self, tenant: str) -> object:
            return None

    asks: list[str] = []
    control = ControlCalls(Slow(), ttl_s=5, clock=clock)
    for count in (1, 2):
        assert await control.key("k") is None
        assert len(asks) == count


@pytest.mark.parametrize("subject", ["key:1", "Zoë 李", 'a "b" \\ c'])
def test_a_context_tells_what_was_established(subject: str) -> None:
    standing = Standing(
        tenant="acme",
        tier="pro",
        plan=Tier(rpm=10, burst=2),
        source="api-key",
        limit_key="tenant:acme",
        principal=Principal(kind="api-key", subject=subject, scopes=frozenset({"a", "b"})),
        client_ip="192.0.2.1",
    )
    text = encode_standing(standing)
    assert text.isascii()
    for number in (1, 2):
        context = encode_context(text, request_id=f"r{number}", traceparent="00-t", deadline_ms=9)
        identity, told = decode_context(context)
        assert told == text
        assert (identity.request_id, identity.deadline_ms) == (f"r{number}", 9)
        assert {name: getattr(identity, name) for name in standing.__struct_fields__} == {
            name: getattr(standing, name) for name in standing.__struct_fields__
        }


def test_a_target_is_the_same_when_it_is_remembered() -> None:
    for _ in range(2):
        assert request_target("http://h/a%2Db?x=1").query_text == "x=1"
        assert isinstance(request_target("http://h/a%2fb").path, BadPath)
    long = "http://h/" + "a" * 2_000
    assert request_target(long) == request_target(long)


@pytest.mark.parametrize("anonymous", ["read", "none"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/api/aggregate", 405),
        ("PUT", "/graphql", 405),
        ("DELETE", "/problems/conflict", 405),
        ("POST", "/nope", 404),
        ("DELETE", "/things/who", 401),
    ],
)
async def test_a_write_without_credential_is_told_what_is_wrong_with_its_path_first(
    anonymous: str, method: str, path: str, status: int
) -> None:
    gateway = deployment(auth={"anonymous": anonymous})
    assert (await gateway.send(method, path)).status == status
