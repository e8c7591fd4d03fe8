"""Fetched key sets: cool-down, single flight, stale sets, removed keys, restarts."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from dohost.clock import ManualClock
from dohost.gateway import jwks
from dohost.gateway.config_tables import IssuerConfig
from dohost.gateway.jwk import parse_jwk, parse_jwks
from dohost.gateway.jwks import JwksDocument, KeySets
from dohost.telemetry import Event, Log

URL = "https://id/keys"
ISSUER = IssuerConfig(issuer="https://id", audience=("api",), algorithms=("EdDSA",), jwks_url=URL)


def key(kid: str, **more: object) -> dict[str, object]:
    x = base64.urlsafe_b64encode(kid.encode().ljust(32)).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, **more}


def document(*kids: str) -> bytes:
    return json.dumps({"keys": [key(kid) for kid in kids]}).encode()


class Site:
    """An issuer's site, and the store beside it."""

    def __init__(self, *kids: str) -> None:
        self.body = document(*kids)
        self.max_age_s: int | None = None
        self.is_down = False
        self.fetches = 0
        self.gate: asyncio.Event | None = None
        self.saved: dict[str, tuple[bytes, int]] = {}
        self.events: list[Event] = []
        self.clock = ManualClock()

    async def __call__(self, url: str) -> JwksDocument:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise TimeoutError("3 s")
        return JwksDocument(body=self.body, max_age_s=self.max_age_s)

    def load(self, url: str) -> tuple[bytes, int] | None:
        return self.saved.get(url)

    def save(self, url: str, body: bytes, fetched_ns: int) -> None:
        self.saved[url] = (body, fetched_ns)

    def sets(self) -> KeySets:
        return KeySets(self, self, clock=self.clock, log=Log(self.events.append))


async def has(sets: KeySets, kid: str | None) -> bool:
    return await sets.find(ISSUER, kid=kid, alg="EdDSA") is not None


async def test_one_hundred_callers_cause_one_fetch() -> None:
    site = Site("a")
    site.gate = asyncio.Event()
    sets = site.sets()
    callers = [asyncio.ensure_future(has(sets, "a")) for _ in range(100)]
    await asyncio.sleep(0)
    site.gate.set()
    assert all(await asyncio.gather(*callers))
    assert site.fetches == 1


async def test_an_unknown_kid_refetches_once_per_cool_down() -> None:
    site = Site("a")
    sets = site.sets()
    assert await has(sets, "a")
    site.body = document("a", "b")
    assert not await has(sets, "b")
    site.clock.advance(30)
    for number in range(50):
        assert not await has(sets, f"sprayed-{number}")
    assert site.fetches == 2
    assert await has(sets, "b")


async def test_a_sprayed_kid_is_remembered_until_the_next_refresh() -> None:
    site = Site("a")
    sets = site.sets()
    assert not await has(sets, "x")
    site.clock.advance(31)
    assert not await has(sets, "x")
    assert site.fetches == 1


async def test_a_key_that_comes_within_the_cool_down_works_after_it() -> None:
    site = Site("a")
    sets = site.sets()
    assert await has(sets, "a")
    site.body = document("a", "b")
    assert not await has(sets, "b")
    site.clock.advance(30)
    assert await has(sets, "b")


async def test_a_kid_that_was_asked_for_while_the_site_was_down_works_when_it_is_back() -> None:
    site = Site("a")
    sets = site.sets()
    assert await has(sets, "a")
    site.is_down = True
    site.clock.advance(30)
    assert not await has(sets, "b")
    site.is_down, site.body = False, document("a", "b")
    site.clock.advance(30)
    assert await has(sets, "b")


async def test_a_guessed_kid_of_the_next_key_is_refused_for_a_minute_only() -> None:
    site = Site("2026-11")
    sets = site.sets()
    assert await has(sets, "2026-11")
    site.clock.advance(30)
    assert not await has(sets, "2026-12")
    site.body = document("2026-11", "2026-12")
    site.clock.advance(59)
    assert not await has(sets, "2026-12")
    site.clock.advance(1)
    assert await has(sets, "2026-12")


async def test_a_stale_set_serves_while_the_site_is_down_but_not_for_ever() -> None:
    site = Site("a")
    sets = site.sets()
    assert await has(sets, "a")
    site.is_down = True
    site.clock.advance(3_600)
    assert await has(sets, "a")
    assert site.events[-1].name == "auth.jwks"
    site.clock.advance(86_400)
    assert not await has(sets, "a")


async def test_a_site_that_never_answers_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0)
    site = Site("a")
    sets = site.sets()
    site.save(URL, site.body, site.clock.realtime_ns())
    site.gate = asyncio.Event()
    site.clock.advance(3_600)
    callers = [asyncio.ensure_future(has(sets, "a")) for _ in range(3)]
    assert await asyncio.wait_for(asyncio.gather(*callers), 10) == [True] * 3
    assert site.events[-1].fields["reason"] == "no answer within 0 s"


async def test_a_removed_key_stops_working_with_the_refresh() -> None:
    site = Site("a", "b")
    sets = site.sets()
    assert await has(sets, "a")
    site.body = document("b")
    site.clock.advance(3_600)
    assert not await has(sets, "a")
    assert await has(sets, "b")


async def test_lifetimes_are_at_least_a_minute_and_at_most_a_day() -> None:
    for stated, lives in ((0, 60), (10**9, 86_400), (120, 120)):
        site = Site("a")
        site.max_age_s = stated
        sets = site.sets()
        await has(sets, "a")
        site.clock.advance(lives - 1)
        await has(sets, "a")
        assert site.fetches == 1
        site.clock.advance(1)
        await has(sets, "a")
        assert site.fetches == 2


async def test_a_restart_works_offline() -> None:
    site = Site("a")
    await has(site.sets(), "a")
    site.is_down = True
    site.clock.advance(600)
    assert await has(site.sets(), "a")


async def test_a_broken_document_leaves_the_good_set_in_force() -> None:
    site = Site("a")
    sets = site.sets()
    await has(sets, "a")
    site.body = b'{"keys": [], "keys": []}'
    site.clock.advance(3_600)
    assert await has(sets, "a")


async def test_a_cancelled_fetch_frees_those_who_wait() -> None:
    site = Site("a")
    site.gate = asyncio.Event()
    sets = site.sets()
    leader = asyncio.ensure_future(has(sets, "a"))
    await asyncio.sleep(0)
    follower = asyncio.ensure_future(has(sets, "a"))
    await asyncio.sleep(0)
    leader.cancel()
    assert await follower is False
    assert leader.cancelled()


def test_documents_are_refused_or_cleaned() -> None:
    assert isinstance(parse_jwks(b"[]"), str)
    assert isinstance(parse_jwks(b'{"keys": 1}'), str)
    assert isinstance(parse_jwks(b" " * 262_145), str)
    assert isinstance(parse_jwks(json.dumps({"keys": [{}] * 101}).encode()), str)
    dirty = [
        key("good"),
        key("private", d="x"),
        key("half private", p="x"),
        key("twice"),
        key("twice", kty="RSA"),
        key("", crv="Ed25519"),
        key("curve", crv="X25519"),
        {"kty": "oct", "k": "c2VjcmV0"},
        "text",
        7,
    ]
    found = parse_jwks(json.dumps({"keys": dirty}).encode())
    assert isinstance(found, tuple)
    assert [each.kid for each in found] == ["good"]


# The y coordinates 1, 0, -1 and both of order 8, one of them with its sign bit and 1 also as p + 1.
SMALL_ORDER = [
    "01" + "00" * 31,
    "00" * 32,
    "ec" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_ed25519_point_of_small_order_is_no_key(point: str) -> None:
    x = base64.urlsafe_b64encode(bytes.fromhex(point)).rstrip(b"=").decode()
    assert parse_jwk(key("a", x=x)) is None


def test_an_ed25519_key_has_32_bytes() -> None:
    for size in (31, 33):
        x = base64.urlsafe_b64encode(b"k" * size).rstrip(b"=").decode()
        assert parse_jwk(key("a", x=x)) is None
