"""What gateway objects tell `$control`: counts of all tenants on one page, and the worst state of circuits."""

from __future__ import annotations

import pytest
from deployment import ADMIN, Deployment
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway import Gateway, Service, expose
from dohost.gateway.reports import OBJECTS_MAX, STATES_LIVE_S, ReportedCircuits
from dohost.gateway.stats import BOUNDS_MS, Stats


class ThingServiceDO(Service):
    """Things, which fail when asked to."""

    @expose("GET /{name}")
    def get(self, name: str) -> str:
        if name == "broken":
            raise RuntimeError("broken")
        return name


def deployment() -> Deployment:
    config = {
        "services": {"things": {"binding": "THING_DO", "scope": "tenant"}},
        "routes": {"/api/v1/things/*": "things"},
        "auth": {"anonymous": "all"},
        "versions": {"supported": {"v1": {"prefix": "/api/v1"}}},
        "circuit_breaker": {"threshold": 2},
    }
    return Deployment(config, {"THING_DO": ThingServiceDO})


async def get(gateway: Deployment, name: str, ip: str = "203.0.113.1") -> int:
    """Ask for a thing, and wait for what the gateway does behind the answer."""
    status = (await gateway.send("GET", f"/api/v1/things/{name}", ip=ip)).status
    for gateway_object in tuple(gateway.gateways.objects.values()):
        for task in gateway_object.ctx.background:
            await task
    return status


async def metric(gateway: Deployment, line: str) -> int:
    text = (await gateway.send("GET", "/metrics", headers=ADMIN)).body.decode()
    found = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line + " ")]
    return int(found[0]) if found else 0


ROUTE = 'gateway_requests_total{route="/api/v1/things/*",status="200"}'


@pytest.fixture(autouse=True)
def _reports_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dohost.gateway.reports.DELAY_S", 0)


async def test_metrics_show_what_all_tenants_objects_have_counted() -> None:
    gateway = deployment()
    for number in range(20):
        assert await get(gateway, "a", f"203.0.113.{number}") == 200
    assert len({name for name, _ in gateway.gateways.calls if name.startswith("$anon")}) > 1
    assert await metric(gateway, ROUTE) == 20
    assert await metric(gateway, 'gateway_calls_total{service="things",outcome="ok"}') == 20
    assert await metric(gateway, 'gateway_request_duration_ms_bucket{le="+Inf"}') == 20
    versions = (await gateway.send("GET", "/api/versions")).json["versions"]
    assert [(each["version"], each["requests"]) for each in versions] == [("v1", 20)]


async def test_counts_outlive_the_objects_that_counted_and_added_them() -> None:
    gateway = deployment()
    for _ in range(2):
        await get(gateway, "a")
        gateway.gateways.restart()
    assert await metric(gateway, ROUTE) == 2


async def test_requests_that_come_before_a_report_has_left_are_part_of_it() -> None:
    gateway = deployment()
    for _ in range(3):
        await gateway.send("GET", "/api/v1/things/a")
    assert [method for _, method in gateway.gateways.calls].count("gateway_report") <= 1
    await get(gateway, "a")
    assert await metric(gateway, ROUTE) == 4


async def test_what_could_not_be_reported_is_part_of_the_next_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = deployment()

    def fail(self: object, report: object) -> None:
        raise RuntimeError("overloaded")

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "gateway_report", fail)
        await get(gateway, "a")
    assert [event.name for event in gateway.events] == ["gateway.report_failed"]
    await get(gateway, "a")
    assert await metric(gateway, ROUTE) == 2


async def test_health_shows_a_circuit_that_is_open_for_any_tenant() -> None:
    gateway = deployment()
    for _ in range(2):
        assert await get(gateway, "broken") == 500
    assert await get(gateway, "a") == 503
    assert (await gateway.send("GET", "/health")).json["circuits"] == {"things": "open"}


def test_the_worst_reported_state_counts_for_a_minute() -> None:
    reported = ReportedCircuits()
    reported.note("a", {"x": "open", "y": "closed"}, 0.0)
    reported.note("b", {"x": "half-open", "y": "half-open"}, 1.0)
    assert reported.worst({"x": "closed", "z": "open"}, 2.0) == {
        "x": "open",
        "y": "half-open",
        "z": "open",
    }
    assert reported.worst({"x": "closed"}, STATES_LIVE_S)["x"] == "half-open"
    assert reported.worst({"x": "closed"}, STATES_LIVE_S + 1) == {"x": "closed"}


def test_of_too_many_objects_the_one_longest_silent_is_forgotten() -> None:
    reported = ReportedCircuits()
    for number in range(OBJECTS_MAX + 1):
        reported.note(str(number), {"x": "open"}, float(number != 0))
    assert len(reported._by_object) == OBJECTS_MAX
    assert "0" not in reported._by_object


COUNTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([200, 404]), st.floats(0, 20_000)),
    max_size=20,
)


@given(first=COUNTS, second=COUNTS)
def test_counts_that_are_taken_and_added_are_those_that_were_counted(first, second) -> None:
    whole, one, other = Stats(), Stats(), Stats()
    for stats, counts in ((one, first), (other, second)):
        for route, status, took_ms in counts:
            for each in (whole, stats):
                each.count(route, status, version=route, took_ms=took_ms)
    sums = Stats()
    for stats in (one, other):
        sums.add(stats.take())
        assert stats.take().buckets == [0] * (len(BOUNDS_MS) + 1)
    without_sum = [row for row in sums.prometheus().splitlines() if "_sum" not in row]
    assert without_sum == [row for row in whole.prometheus().splitlines() if "_sum" not in row]
