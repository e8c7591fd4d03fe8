"""Plans: what is remembered of a request is what would be decided anew."""

from __future__ import annotations

import pytest
from deployment import Deployment
from sample_things import things_deployment
from workers import Request

from dohost.clock import SeededEntropy
from dohost.gateway.exchange import Exchange
from dohost.gateway.identity import local_identity
from dohost.gateway.paths import CanonicalPath, request_target
from dohost.gateway.plan import PLANS_MEMOISED_MAX, Plan, Planner, Refusal

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def gateway() -> Deployment:
    return things_deployment()


def planner_of(gateway: Deployment) -> Planner:
    planner = gateway.gateways.object("acme")._parts.planner
    assert isinstance(planner, Planner)
    return planner


def exchange(
    gateway: Deployment,
    target: str = "/things/a",
    *,
    tenant: str = "acme",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> Exchange:
    parts = gateway.gateways.object("acme")._parts
    identity = local_identity(parts.config, tenant=tenant, now_ns=0, entropy=SeededEntropy(1))
    url = f"http://x{target}"
    asked = request_target(url)
    assert isinstance(asked.path, CanonicalPath)
    return Exchange(
        request=Request(url),
        identity=identity,
        standing=tenant,
        method=method,
        path=asked.path,
        query_text=asked.query_text,
        headers={"host": "x", **(headers or {})},
    )


def test_an_equal_request_has_the_plan_that_was_made(gateway: Deployment) -> None:
    planner = planner_of(gateway)
    first = planner.plan(exchange(gateway), 0)
    assert isinstance(first, Plan)
    assert planner.plan(exchange(gateway), HOUR_NS) is first


def test_callers_targets_methods_and_hosts_have_plans_of_their_own(gateway: Deployment) -> None:
    planner = planner_of(gateway)
    asked = [
        exchange(gateway),
        exchange(gateway, tenant="other"),
        exchange(gateway, "/things/a?b=1"),
        exchange(gateway, "/things/a?b=2"),
        exchange(gateway, "/things/b"),
        exchange(gateway, headers={"host": "y"}),
        exchange(gateway, method="HEAD"),
        exchange(gateway, "/things/a?" + "b" * 600),
    ]
    for _ in range(2):
        plans = [planner.plan(each, 0) for each in asked]
        anew = [planner._plan(each, 0) for each in asked]
        assert plans == anew
    keys = {plan.cache_key for plan in plans if isinstance(plan, Plan)}
    # The same resource by GET and HEAD; everything else is kept apart.
    assert len(keys) == len(asked) - 1


def test_a_long_target_is_planned_and_not_remembered(gateway: Deployment) -> None:
    planner = planner_of(gateway)
    long = exchange(gateway, "/things/a?" + "b" * 600)
    assert planner.plan(long, 0) == planner.plan(long, 0)
    assert len(planner._plans) == 0


def test_refusals_are_remembered_and_say_whether_they_cost(gateway: Deployment) -> None:
    planner = planner_of(gateway)
    for _ in range(2):
        nowhere = planner.plan(exchange(gateway, "/nowhere"), 0)
        assert isinstance(nowhere, Refusal)
        assert nowhere.is_charged
        assert nowhere.problem.status == 404


def test_only_so_many_plans_are_remembered(gateway: Deployment) -> None:
    planner = planner_of(gateway)
    for number in range(PLANS_MEMOISED_MAX + 10):
        planner.plan(exchange(gateway, f"/things/{number}"), 0)
    assert 0 < len(planner._plans) <= PLANS_MEMOISED_MAX
