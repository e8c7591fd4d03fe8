"""Answers that the entry point gives for an object beside it: the object's own, and never one too many."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from deployment import ADMIN, Deployment
from gateway_fakes import FakeStorage
from sample_notes import Fields, Visited, deployment, hit, told, visits
from workers import Request

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway.api_keys import digest_of, key_text
from dohost.gateway.entry import GatewayEntrypoint
from dohost.gateway.shortcuts import Shelf, Shortcuts, shelves_of
from dohost.gateway.tenants import ANONYMOUS_SHARDS, spread


async def test_the_same_request_again_costs_no_visit_and_gets_the_objects_own_answer() -> None:
    gateway = deployment()
    fields = {"Origin": "https://a.example", "X-Request-ID": "an-id-of-the-client"}
    reply = await hit(gateway, headers=fields)
    (shelf,) = shelves_of(gateway.env).values()
    shelf.is_newest = False
    before = visits(gateway)
    visited = await gateway.send("GET", "/notes/a", headers=fields)
    assert visits(gateway) == before + 1
    assert told(reply)[:2] == told(visited)[:2] == (200, b'"first"')
    # But for the token that the second has taken.
    left = int(reply.headers["x-ratelimit-remaining"] or "")
    assert visited.headers["x-ratelimit-remaining"] == str(left - 1)
    assert [name for name, _ in reply.headers.items()] == [
        name for name, _ in visited.headers.items()
    ]
    assert reply.headers["cache-status"] == visited.headers["cache-status"]
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert reply.headers["x-request-id"] == "an-id-of-the-client"


async def test_every_answer_has_an_id_of_its_own() -> None:
    gateway = deployment()
    ids = {(await hit(gateway)).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    "write",
    [
        lambda gateway: gateway.send("PUT", "/notes/a", {"text": "second"}),
        lambda gateway: gateway.send("POST", "/api/cache/clear", {}, headers=ADMIN),
    ],
)
async def test_what_a_write_has_dropped_is_served_no_more(
    write: Callable[[Deployment], Any],
) -> None:
    gateway = deployment()
    await hit(gateway)
    gateway.services["NOTE_DO"].object("main").texts["a"] = "second"
    assert (await write(gateway)).status == 200
    reply = await gateway.send("GET", "/notes/a")
    assert reply.body == b'"second"'
    assert "fwd=uri-miss" in (reply.headers["cache-status"] or "")


async def test_what_the_cache_has_dropped_is_not_served_though_somebody_still_holds_it() -> None:
    gateway = deployment()
    await hit(gateway)
    (cache,) = [each._parts.cache for each in gateway.gateways.objects.values()]
    held = list(cache._entries.values())
    assert (await gateway.send("PUT", "/notes/a", {"text": "second"})).status == 200
    assert (await gateway.send("GET", "/notes/a")).body == b'"second"'
    assert held[0].body == b'"first"'


async def test_an_answer_past_its_life_is_fetched_anew() -> None:
    gateway = deployment()
    await hit(gateway)
    gateway.services["NOTE_DO"].object("main").texts["a"] = "second"
    gateway.clock.advance(31)
    assert (await gateway.send("GET", "/notes/a")).body == b'"second"'


async def test_age_and_limits_are_those_of_now() -> None:
    gateway = deployment()
    first = await hit(gateway)
    gateway.clock.advance(0.9)
    second = await gateway.send("GET", "/notes/a")
    gateway.clock.advance(0.9)
    third = await hit(gateway)
    assert [each.headers["age"] for each in (first, second, third)] == ["0", "0", "1"]
    # Nine tokens grow back in 0.9 s.
    left = [int(each.headers["x-ratelimit-remaining"] or "") for each in (first, second)]
    assert left[1] == min(39, left[0] + 8)


async def test_what_goes_stale_within_an_offers_second_is_fetched_anew() -> None:
    gateway = deployment()
    await hit(gateway)
    gateway.services["NOTE_DO"].object("main").texts["a"] = "second"
    gateway.clock.advance(29.5)
    assert (await hit(gateway)).body == b'"first"'
    gateway.clock.advance(0.6)
    assert (await gateway.send("GET", "/notes/a")).body == b'"second"'


async def test_an_offer_ends_after_a_second() -> None:
    gateway = deployment()
    await hit(gateway)
    gateway.clock.advance(1)
    before = visits(gateway)
    await gateway.send("GET", "/notes/a")
    assert visits(gateway) == before + 1


async def test_each_answer_is_charged_and_the_limit_holds() -> None:
    gateway = deployment()
    statuses = []
    for _ in range(60):
        statuses.append((await gateway.send("GET", "/notes/a")).status)
        await asyncio.sleep(0)
    assert statuses == [200] * 40 + [429] * 20
    assert visits(gateway) < 40, "some of them cost no visit"


async def test_only_a_lease_that_is_known_to_be_durable_is_charged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = asyncio.Event()

    async def sync(self: FakeStorage) -> None:
        await never.wait()

    monkeypatch.setattr(FakeStorage, "sync", sync)
    gateway = deployment()
    for count in range(1, 11):
        assert (await gateway.send("GET", "/notes/a")).status == 200
        await asyncio.sleep(0)
        assert visits(gateway) == count
    never.set()
    await asyncio.sleep(0)
    await hit(gateway)


@pytest.mark.parametrize("crash_after", range(1, 50, 7))
async def test_a_crash_grants_nothing_twice(crash_after: int) -> None:
    gateway = deployment()
    passed = 0
    for number in range(100):
        if number == crash_after:
            gateway.gateways.restart()
        passed += (await gateway.send("GET", "/notes/a")).status == 200
        await asyncio.sleep(0)
    assert 40 - 10 <= passed <= 40, "at most a quarter of the burst is lost"


async def test_the_newest_instance_alone_is_believed() -> None:
    gateway = deployment()
    await hit(gateway)
    before = gateway.gateways.objects.copy()
    gateway.gateways.restart()
    await gateway.send("PUT", "/notes/a", {"text": "second"})
    assert before.keys() == gateway.gateways.objects.keys()
    assert (await gateway.send("GET", "/notes/a")).body == b'"second"'


async def test_an_instance_that_is_gone_is_forgotten() -> None:
    gateway = deployment()
    await hit(gateway)
    gateway.gateways.restart()
    assert not shelves_of(gateway.env)
    before = visits(gateway)
    await gateway.send("GET", "/notes/a")
    assert visits(gateway) == before + 1


async def test_an_offer_keeps_nothing_that_the_cache_has_dropped() -> None:
    gateway = deployment()
    await hit(gateway)
    (cache,) = [each._parts.cache for each in gateway.gateways.objects.values()]
    kept = [weakref.ref(each) for each in cache._entries.values()]
    assert kept
    await gateway.send("PUT", "/notes/a", {"text": "second"})
    gc.collect()
    assert not any(each() for each in kept)


async def test_callers_and_fields_never_share_what_is_not_theirs() -> None:
    gateway = deployment()
    for origin in ("https://a.example", "https://b.example", "https://evil.example"):
        reply = await hit(gateway, headers={"Origin": origin})
        allowed = None if "evil" in origin else origin
        assert reply.headers["access-control-allow-origin"] == allowed
    for tenant in ("acme", "globex"):
        made = await gateway.send("POST", "/api/keys", {"tenant": tenant}, headers=ADMIN)
        key = {"X-API-Key": made.json["key"], "X-Tenant-ID": tenant}
        gateway.services["NOTE_DO"].object("main").texts["a"] = tenant
        assert (await hit(gateway, headers=key)).body == f'"{tenant}"'.encode()
        assert (await gateway.send("GET", "/notes/a")).body == b'"first"'
        other = {"acme": "globex", "globex": "acme"}[tenant]
        refused = await gateway.send("GET", "/notes/a", headers={**key, "X-Tenant-ID": other})
        assert refused.status == 403


@pytest.mark.parametrize(
    "fields", [{"Cache-Control": "no-cache"}, {"Cache-Control": "no-store"}, {"Pragma": "no-cache"}]
)
async def test_a_request_that_says_what_it_takes_from_caches_visits(fields: Fields) -> None:
    gateway = deployment()
    await hit(gateway)
    before = visits(gateway)
    for count in (1, 2, 3):
        assert (await gateway.send("GET", "/notes/a", headers=fields)).status == 200
        assert visits(gateway) == before + count


async def test_ranges_and_other_methods_visit() -> None:
    gateway = deployment()
    await hit(gateway)
    before = visits(gateway)
    assert (await gateway.send("HEAD", "/notes/a")).body == b""
    part = await gateway.send("GET", "/notes/a", headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"fi")
    part = await gateway.send("GET", "/notes/a", headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"fi")
    assert visits(gateway) == before + 3


async def test_hits_are_counted_wherever_they_are_answered() -> None:
    gateway = deployment()
    count = 12
    for _ in range(count):
        await gateway.send("GET", "/notes/a")
        await asyncio.sleep(0)
    assert visits(gateway) < count
    stats = await gateway.send("GET", "/api/cache/stats")
    assert (stats.json["hits"], stats.json["misses"]) == (count - 1, 1)


async def test_a_revoked_key_is_refused_in_five_seconds() -> None:
    gateway = deployment()
    made = (await gateway.send("POST", "/api/keys", {"tenant": "acme"}, headers=ADMIN)).json
    key = {"X-API-Key": made["key"]}
    gateway.clock.advance(6)
    await hit(gateway, headers=key)
    gateway.clock.advance(4.5)
    await hit(gateway, headers=key)
    deleted = await gateway.send("DELETE", f"/api/keys/{made['id']}", headers=ADMIN)
    assert deleted.status < 300
    gateway.clock.advance(0.5)
    assert (await gateway.send("GET", "/notes/a", headers=key)).status == 401


async def test_a_key_that_expires_within_an_offers_second_ends_on_time() -> None:
    text = key_text("live", "0123456789abcdef", entropy=SeededEntropy(7))
    expires_at_s = ManualClock().realtime_ns() // 1_000_000_000 + 2
    record = {"id": "0123456789abcdef", "hash": digest_of(text, None), "tenant": "acme"}
    keys = [{**record, "expires_at_s": expires_at_s}]
    gateway = deployment({"auth": {"anonymous": "all", "api_keys": keys}})
    gateway.clock.advance(1.5)
    await hit(gateway, headers={"X-API-Key": text})
    gateway.clock.advance(0.5)
    assert (await gateway.send("GET", "/notes/a", headers={"X-API-Key": text})).status == 401


MINE = "203.0.113.1"
# An address that the same object serves, with a bucket of its own.
NEIGHBOUR = next(
    ip
    for ip in (f"198.51.100.{number}" for number in range(256))
    if spread(ip, ANONYMOUS_SHARDS) == spread(MINE, ANONYMOUS_SHARDS)
)


@pytest.mark.parametrize(("path", "ip"), [("/notes/b", MINE), ("/notes/a", NEIGHBOUR)])
async def test_an_offer_for_another_request_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, path: str, ip: str
) -> None:
    gateway = deployment()
    for _ in range(2):
        await gateway.send("GET", path, ip=ip)
    await gateway.send("GET", "/notes/a")
    with monkeypatch.context() as patch:
        patch.setattr(Shortcuts, "latest", lambda *_: None)
        await gateway.send("GET", "/notes/a")
    monkeypatch.setattr(Shelf, "offer", lambda *_: None)
    await asyncio.sleep(0)
    gateway.clock.advance(1)
    shelf = next(iter(shelves_of(gateway.env).values()))
    assert shelf.latest is not None
    shelf.latest.ends_s += 9
    before = visits(gateway)
    for count in (1, 2, 3):
        reply = await gateway.send("GET", path, ip=ip)
        assert reply.body == (b'"first"' if path == "/notes/a" else b'"other"')
        assert visits(gateway) == before + count
        await asyncio.sleep(0)


async def test_a_lifetime_of_zero_still_asks_each_time() -> None:
    gateway = deployment({"auth": {"anonymous": "all", "verdict_ttl_s": 0}})
    made = (await gateway.send("POST", "/api/keys", {"tenant": "acme"}, headers=ADMIN)).json
    key = {"X-API-Key": made["key"]}
    for _ in range(5):
        assert (await gateway.send("GET", "/notes/a", headers=key)).status == 200
    await gateway.send("DELETE", f"/api/keys/{made['id']}", headers=ADMIN)
    assert (await gateway.send("GET", "/notes/a", headers=key)).status == 401


async def test_programs_with_hooks_see_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = deployment()
    gateway.gateways._class = type("G", (Visited,), {"clock": gateway.clock})
    for count in range(1, 6):
        await gateway.send("GET", "/notes/a")
        assert visits(gateway) == count

    async def tenant_of(self: object, request: Request, principal: object) -> str | None:
        return "acme"

    gateway = deployment()
    monkeypatch.setattr(type(gateway._default), "tenant_of", tenant_of)
    assert type(gateway._default).tenant_of is not GatewayEntrypoint.tenant_of
    for count in range(1, 6):
        await gateway.send("GET", "/notes/a")
        assert visits(gateway) == count


async def test_gateways_of_other_environments_share_nothing() -> None:
    one, other = deployment(), deployment()
    await other.send("PUT", "/notes/a", {"text": "another"})
    assert (await hit(one)).body == b'"first"'
    assert (await hit(other)).body == b'"another"'
