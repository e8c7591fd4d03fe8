"""What clients are told about limits; http-sf is the oracle for structured fields."""

from __future__ import annotations

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway.config_tables import Tier
from dohost.gateway.rate_limit import Limiter, LimitPolicy, Refused, TooCostly
from dohost.gateway.rate_limit_answers import (
    limit_headers,
    limit_problem,
    limit_status,
    sf_string,
)

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
FREE = LimitPolicy(name="free", key="t1", tier=Tier(rpm=100, burst=10))


class NoDisk:
    def load(self, key: str) -> bytes | None:
        return None

    def save(self, key: str, mark: bytes) -> None: ...

    def drop(self, keys: object) -> None: ...

    def items(self) -> list[tuple[str, bytes]]:
        return []


def test_the_fields_are_those_of_the_draft() -> None:
    limiter = Limiter(NoDisk())
    for _ in range(2):
        limiter.check([FREE], START)
    fields = dict(limit_headers(limiter.check([FREE], START), START))
    assert fields["RateLimit-Policy"] == '"free";q=100;w=60;dohost-burst=10'
    assert fields["RateLimit"] == '"free";r=7;t=1'
    assert fields["X-RateLimit-Limit"] == "100"
    assert fields["X-RateLimit-Remaining"] == "7"
    assert fields["X-RateLimit-Reset"] == str(1_790_000_002)
    assert "Retry-After" not in fields


def test_the_oracle_reads_the_fields_as_lists_of_strings_with_integers() -> None:
    limiter = Limiter(NoDisk())
    route = LimitPolicy(name='a "b" \\ é', key="r", tier=Tier(rpm=60, burst=5))
    fields = dict(limit_headers(limiter.check([FREE, route], START), START))
    policies = http_sf.parse(fields["RateLimit-Policy"].encode(), tltype="list")
    assert policies == [
        ('a "b" \\ ?', {"q": 60, "w": 60, "dohost-burst": 5}),
        ("free", {"q": 100, "w": 60, "dohost-burst": 10}),
    ]
    left = http_sf.parse(fields["RateLimit"].encode(), tltype="list")
    assert left == [('a "b" \\ ?', {"r": 4, "t": 1}), ("free", {"r": 9, "t": 1})]


@given(st.text(max_size=20))
def test_any_policy_name_is_a_valid_structured_string(text: str) -> None:
    value, _ = http_sf.parse(sf_string(text).encode(), tltype="item")
    assert len(value) == len(text)


def test_legacy_fields_can_be_left_out_and_no_limit_has_no_fields() -> None:
    limiter = Limiter(NoDisk())
    fields = dict(limit_headers(limiter.check([FREE], START), START, legacy=False))
    assert set(fields) == {"RateLimit-Policy", "RateLimit"}
    unlimited = LimitPolicy(name="x", key="x", tier=Tier(rpm=None))
    assert limit_headers(limiter.check([unlimited], START), START) == ()


def refused() -> Refused:
    limiter = Limiter(NoDisk())
    for _ in range(10):
        limiter.check([FREE], START)
    decision = limiter.check([FREE], START)
    assert isinstance(decision, Refused)
    return decision


def test_a_429_says_what_was_violated_and_when_to_come_back() -> None:
    answer = limit_problem(refused(), START, tenant="t1", tier="free")
    body = answer.as_dict(instance="/api/v1/users", request_id="r-1")
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["title"] == body["error"] == "Rate limit exceeded"
    assert body["status"] == answer.status == 429
    assert body["violated-policies"] == ["free"]
    assert (body["tenant"], body["tier"], body["limit"], body["burst"]) == ("t1", "free", 100, 10)
    assert body["retryAfter"] == 1
    assert body["instance"] == "/api/v1/users"
    assert dict(answer.headers)["Retry-After"] == "1"


@pytest.mark.parametrize(("cost", "seconds"), [(1, 1), (2, 2), (5, 3), (10, 6)])
def test_retry_after_is_rounded_up_and_covers_the_whole_cost(cost: int, seconds: int) -> None:
    limiter = Limiter(NoDisk())
    for _ in range(10):
        limiter.check([FREE], START)
    decision = limiter.check([FREE], START, cost=cost)
    assert isinstance(decision, Refused)
    assert dict(limit_headers(decision, START))["Retry-After"] == str(seconds)


def test_a_413_has_no_retry_after_because_waiting_cannot_help() -> None:
    decision = Limiter(NoDisk()).check([FREE], START, cost=20)
    assert isinstance(decision, TooCostly)
    answer = limit_problem(decision, START, tenant="t1", tier="free")
    assert answer.status == 413
    assert answer.type.slug == "cost-exceeds-burst"
    assert (answer.members["cost"], answer.members["burst"]) == (20, 10)
    assert "Retry-After" not in dict(answer.headers)


def test_the_status_names_the_algorithm_in_force() -> None:
    limiter = Limiter(NoDisk())
    limiter.check([FREE], START, cost=3)
    assert limit_status(limiter.peek([FREE], START), START, tenant="t1", tier="free") == {
        "tenant": "t1",
        "tier": "free",
        "algorithm": "gcra",
        "limit": 100,
        "burst": 10,
        "used": 3,
        "remaining": 7,
        "resetAt": 1_790_000_001_800,
        "retryAfter": 0,
    }
    assert limit_status(refused(), START, tenant="t1", tier="free")["retryAfter"] == 1
