"""What a client address may cost before it is known whose it is."""

from __future__ import annotations

import pytest
from deployment import Deployment, Reply
from hypothesis import given
from hypothesis import strategies as st

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway import Service, expose
from dohost.gateway.address_limits import ADDRESSES_MAX, AddressBuckets
from dohost.gateway.api_keys import digest_of, key_text
from dohost.gateway.config_tables import Tier

TIER = Tier(rpm=60, burst=3)


class ThingServiceDO(Service):
    """Things."""

    @expose("GET /")
    def all(self) -> list[str]:
        return ["thing"]


def deployment(auth: dict[str, object] | None = None, **limiter: object) -> Deployment:
    config = {
        "services": {"things": {"binding": "THING_DO"}},
        "routes": {"/things/*": "things"},
        "auth": {"anonymous": "all", **(auth or {})},
        "limiter": limiter,
    }
    return Deployment(config, {"THING_DO": ThingServiceDO})


def key(number: int) -> dict[str, str]:
    return {"X-API-Key": f"dd_live_k{number}_nobodys"}


async def guess(gateway: Deployment, number: int, **options: str) -> Reply:
    return await gateway.send("GET", "/things/", headers=key(number), **options)


async def test_an_address_that_keeps_guessing_credentials_is_not_listened_to() -> None:
    gateway = deployment(failed_auth={"rpm": 60, "burst": 3})
    assert [(await guess(gateway, number)).status for number in range(5)] == [401] * 3 + [429] * 2
    reply = await guess(gateway, 9)
    assert reply.json["type"].endswith("abnormal-usage-detected")
    assert (reply.headers.get("retry-after"), reply.json["retryAfter"]) == ("1", 1)
    # Another address, and this one without a credential, are no worse off.
    assert (await guess(gateway, 9, ip="203.0.113.2")).status == 401
    assert (await gateway.send("GET", "/things/")).status == 200
    gateway.clock.advance(1)
    assert [(await guess(gateway, number)).status for number in (10, 11)] == [401, 429]


async def test_tokens_and_wrong_admin_tokens_count_like_keys() -> None:
    gateway = deployment(failed_auth={"rpm": 60, "burst": 2})
    for credential, status in (("Bearer a.b.c", 401), ("Bearer wrong", 401), ("Bearer x", 429)):
        reply = await gateway.send("GET", "/things/", headers={"Authorization": credential})
        assert reply.status == status


async def test_an_ipv6_network_counts_as_one_address() -> None:
    gateway = deployment(failed_auth={"rpm": 60, "burst": 1})
    assert (await guess(gateway, 1, ip="2001:db8::1")).status == 401
    assert (await guess(gateway, 2, ip="2001:db8::ffff")).status == 429
    assert (await guess(gateway, 2, ip="2001:db8:0:1::1")).status == 401


async def test_who_was_let_in_before_is_listened_to_whatever_a_neighbour_guesses() -> None:
    text = key_text("live", "0123456789abcdef", entropy=SeededEntropy(7))
    expires_at_s = ManualClock().realtime_ns() // 1_000_000_000 + 2
    record = {"id": "0123456789abcdef", "hash": digest_of(text, None), "tenant": "acme"}
    gateway = deployment(
        auth={"api_keys": [{**record, "expires_at_s": expires_at_s}]},
        failed_auth={"rpm": 1, "burst": 1},
    )
    mine = {"X-API-Key": text}
    assert (await gateway.send("GET", "/things/", headers=mine)).status == 200
    assert [(await guess(gateway, number)).status for number in range(3)] == [401, 429, 429]
    assert (await gateway.send("GET", "/things/", headers=mine)).status == 200
    gateway.clock.advance(2)
    # Looked at anew, and told what is wrong with it.
    reply = await gateway.send("GET", "/things/", headers=mine)
    assert (reply.status, reply.headers.get("retry-after")) == (401, None)


async def test_requests_of_callers_who_are_not_known_yet_are_counted_by_address() -> None:
    gateway = deployment(pre_auth={"rpm": 60, "burst": 2})
    hosts = [{"Host": f"h{number}.test"} for number in range(3)]
    statuses = [(await gateway.send("GET", "/nope", headers=host)).status for host in hosts]
    assert statuses == [404, 404, 429]
    # The same request again is of somebody known: it costs his tenant's limit instead.
    assert (await gateway.send("GET", "/nope", headers=hosts[0])).status == 404


class Binding:
    """A rate-limit binding that a test answers for."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def limit(self, options: dict[str, str]) -> dict[str, bool]:
        self.asked.append(options["key"])
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"success": self.answer}


@pytest.mark.parametrize(
    ("answer", "status"), [(True, 200), (False, 429), (RuntimeError("down"), 200)]
)
async def test_the_binding_is_asked_and_its_failure_lets_through(
    answer: bool | Exception, status: int
) -> None:
    gateway = deployment()
    binding = Binding(answer)
    gateway.env.GATEWAY_IP = binding
    assert (await gateway.send("GET", "/things/")).status == status
    assert binding.asked == ["203.0.113.1"]


def test_the_address_longest_unseen_is_forgotten() -> None:
    buckets = AddressBuckets(Tier(rpm=1, burst=1), ManualClock())
    for number in range(ADDRESSES_MAX + 1):
        buckets.spend(str(number))
    assert not buckets.wait_ns("0")
    assert buckets.wait_ns("1")
    assert len(buckets._tats) == ADDRESSES_MAX


def test_a_tier_without_a_rate_limits_nobody() -> None:
    buckets = AddressBuckets(Tier(), ManualClock())
    for _ in range(1000):
        buckets.spend("a")
    assert not buckets.wait_ns("a")


@given(st.lists(st.floats(0, 5), max_size=100))
def test_no_interval_grants_more_than_its_rate_and_the_burst(pauses: list[float]) -> None:
    clock = ManualClock()
    began, granted = clock.realtime_ns(), 0
    buckets = AddressBuckets(TIER, clock)
    for pause in pauses:
        clock.advance(pause)
        if not buckets.wait_ns("a"):
            buckets.spend("a")
            granted += 1
        elapsed_s = (clock.realtime_ns() - began) / 1e9
        assert granted <= TIER.burst + elapsed_s * (TIER.rpm or 0) / 60
