"""Aggregates on the whole gateway: parallel, partial, dependent, streamed, bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from deployment import ADMIN, Deployment

from dohost.gateway import Service, ServiceError, expose

CONFIG: dict[str, object] = {
    "services": {
        "slow": {"binding": "SLOW_DO", "scope": "shared"},
        "slow2": {"binding": "SLOW_DO", "scope": "shared", "object": "other"},
        "owned": {"binding": "SLOW_DO", "object": "{0}"},
    },
    "routes": {"/slow/*": "slow"},
    "rate_limits": {"free": {"rpm": 6000, "burst": 30}},
    "auth": {"anonymous": "read"},
}


class Slow(Service):
    """Waits until the test opens the gate."""

    def setup(self) -> None:
        self.gate = asyncio.Event()
        self.entered = 0
        self.peak = 0
        self.total = 0

    @expose(safe=True)
    def echo(self, value: object = None) -> object:
        self.total += 1
        return value

    @expose(safe=True)
    async def wait(self, tag: str = "") -> str:
        self.entered += 1
        self.peak = max(self.peak, self.entered)
        await self.gate.wait()
        self.entered -= 1
        return tag

    @expose(safe=True, cache=30, tags=["cached"])
    def cached(self) -> int:
        self.total += 1
        return self.total

    @expose(aggregate=True, invalidates=["cached"])
    def write(self) -> str:
        self.total += 1
        return "written"

    @expose()
    def write_only(self) -> str:
        return "never by aggregate"

    @expose(safe=True)
    def fail(self, status: int = 409) -> None:
        if status == 0:
            raise RuntimeError("broken")
        raise ServiceError(status, "as-told", "As told.")

    @expose(safe=True)
    def name(self) -> str | None:
        return self.ctx.id.name


@pytest.fixture
def gateway() -> Deployment:
    return Deployment(CONFIG, {"SLOW_DO": Slow})


def slow(gateway: Deployment, name: str = "main") -> Any:
    made = gateway.services["SLOW_DO"].object(name)
    made._prepare()
    return made


async def entered(gateway: Deployment, count: int) -> None:
    """Let the loop run until so many calls wait at the gate."""
    for _ in range(1_000):
        if slow(gateway).entered >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"only {slow(gateway).entered} calls arrived")


def call(method: str, *args: object, service: str = "slow", **members: object) -> dict[str, object]:
    return {"service": service, "method": method, "args": list(args), **members}


async def aggregate(gateway: Deployment, *calls: object, **members: Any) -> Any:
    headers = members.pop("headers", {})
    path = members.pop("path", "/api/aggregate")
    return await gateway.send("POST", path, {"calls": list(calls), **members}, headers=headers)


async def test_calls_run_in_parallel(gateway: Deployment) -> None:
    sending = asyncio.ensure_future(
        aggregate(gateway, call("wait", "a"), call("wait", "b", **{"as": "second"}))
    )
    await entered(gateway, 2)
    slow(gateway).gate.set()
    reply = await sending
    assert reply.json == {"slow": "a", "second": "b"}


async def test_at_most_so_many_calls_run_at_once(gateway: Deployment) -> None:
    calls = [call("wait", str(n), **{"as": f"n{n}"}) for n in range(12)]
    sending = asyncio.ensure_future(aggregate(gateway, *calls))
    await entered(gateway, 8)
    slow(gateway).gate.set()
    reply = await sending
    assert list(reply.json.values()) == [str(n) for n in range(12)]
    assert slow(gateway).peak == 8


async def test_identical_reads_are_made_once(gateway: Deployment) -> None:
    reply = await aggregate(gateway, call("echo", 7), call("echo", 7, **{"as": "again"}))
    assert reply.json == {"slow": 7, "again": 7}
    assert slow(gateway).total == 1


async def test_each_call_pays(gateway: Deployment) -> None:
    await aggregate(gateway, *(call("echo", n, **{"as": f"n{n}"}) for n in range(5)))
    status = await gateway.send("GET", "/api/rate-limit/status")
    assert status.json["used"] == 5


async def test_more_calls_than_the_burst_can_never_pass() -> None:
    config = {**CONFIG, "rate_limits": {"free": {"rpm": 100, "burst": 3}}}
    gateway = Deployment(config, {"SLOW_DO": Slow})
    reply = await aggregate(gateway, *(call("echo", **{"as": f"n{n}"}) for n in range(4)))
    assert (reply.status, reply.json["type"]) == (413, "/problems/cost-exceeds-burst")


async def test_a_call_can_use_another_ones_result(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway,
        call("echo", {"$from": "first", "path": "/id"}),
        call("echo", {"id": "x"}, **{"as": "first"}),
    )
    assert reply.json == {"slow": "x", "first": {"id": "x"}}


async def test_a_failed_parent_fails_its_child_without_calling_it(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway,
        call("fail", **{"as": "first"}),
        call("echo", {"$from": "first", "path": ""}, **{"as": "second"}),
        call("echo", 1, **{"as": "third"}),
    )
    assert reply.status == 200
    errors = {each["name"]: each["status"] for each in reply.json["errors"]}
    assert errors == {"first": 409, "second": 424}
    assert slow(gateway).total == 1


async def test_a_pointer_to_nothing_fails_the_call(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway,
        call("echo", {"id": 1}, **{"as": "first"}),
        call("echo", {"$from": "first", "path": "/nope"}, **{"as": "second"}),
    )
    assert reply.json["errors"][0]["status"] == 424


@pytest.mark.parametrize("path", [f"/{'9' * 5000}/id", "/00/id", "/0"])
async def test_a_pointer_that_is_no_place_in_a_list_fails_the_call(
    gateway: Deployment, path: str
) -> None:
    reply = await aggregate(
        gateway,
        call("echo", [{"id": 1}], **{"as": "first"}),
        {**call("echo", **{"as": "second"}), "args": {"$from": "first", "path": f"{path}/id"}},
    )
    assert reply.json["errors"][0]["status"] == 424


async def test_arguments_that_a_reference_makes_a_scalar_fail_the_call(
    gateway: Deployment,
) -> None:
    reply = await aggregate(
        gateway,
        call("echo", {"id": 1}, **{"as": "first"}),
        {**call("echo", **{"as": "second"}), "args": {"$from": "first", "path": "/id"}},
    )
    assert reply.json["errors"][0]["status"] == 424
    assert "neither a list nor an object" in reply.json["errors"][0]["detail"]


async def test_strict_mode_cancels_the_others(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway, call("wait", "a"), call("fail", **{"as": "bad"}), mode="strict"
    )
    assert reply.status == 409
    assert {each["name"] for each in reply.json["errors"]} == {"slow", "bad"}


async def test_a_late_call_is_504_and_counts_for_the_breaker(gateway: Deployment) -> None:
    reply = await aggregate(gateway, call("wait", "a", timeoutMs=1))
    assert (reply.status, reply.json["errors"][0]["status"]) == (504, 504)
    status = await gateway.send("GET", "/api/circuit-breaker/status")
    assert status.json["slow"]["failures"] == 1


async def test_a_cached_method_is_called_once_until_a_write_invalidates_it(
    gateway: Deployment,
) -> None:
    assert (await aggregate(gateway, call("cached"), headers=ADMIN)).json == {"slow": 1}
    assert (await aggregate(gateway, call("cached"), headers=ADMIN)).json == {"slow": 1}
    await aggregate(gateway, call("write"), headers=ADMIN)
    assert (await aggregate(gateway, call("cached"), headers=ADMIN)).json == {"slow": 3}


async def test_writes_need_a_credential_and_the_mark(gateway: Deployment) -> None:
    anonymous = await aggregate(gateway, call("write"))
    assert anonymous.status == 401
    hidden = await aggregate(gateway, call("write_only"), headers=ADMIN)
    unknown = await aggregate(gateway, call("nope"), headers=ADMIN)
    assert hidden.status == unknown.status == 404
    strip = {"method": None}
    assert {**hidden.json["errors"][0], **strip} == {**unknown.json["errors"][0], **strip}


async def test_unknown_methods_never_reach_the_object(gateway: Deployment) -> None:
    await aggregate(gateway, call("nope"), call("setup", **{"as": "b"}))
    reached = {name for name, _ in gateway.services["SLOW_DO"].calls}
    assert reached == {"$describe"}


@pytest.mark.parametrize("method", ["_prepare", "__init__", "_", "gateway_call"])
async def test_private_names_are_answered_as_unknown_ones(gateway: Deployment, method: str) -> None:
    private = await aggregate(gateway, call(method))
    unknown = await aggregate(gateway, call("nope"))
    assert private.status == unknown.status == 404
    told, expected = private.json["errors"][0], unknown.json["errors"][0]
    assert told["type"] == "/problems/unknown-method"
    assert {**told, "method": None} == {**expected, "method": None}


async def test_a_chosen_object_is_inside_the_tenant(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway, call("name", service="owned", object="../acme/x"), call("name", service="slow2")
    )
    assert reply.json == {"owned": "anonymous/..%2Facme%2Fx", "slow2": "other"}


async def test_one_poisoned_object_does_not_take_the_service_down(gateway: Deployment) -> None:
    fine = [call("echo", 1, service="owned", object=f"o{n}", **{"as": f"n{n}"}) for n in range(4)]
    await aggregate(gateway, *fine)
    for _ in range(6):
        await aggregate(gateway, call("fail", 0, service="owned", object="poisoned"))
    poisoned = await aggregate(gateway, call("fail", 0, service="owned", object="poisoned"))
    assert (poisoned.status, poisoned.json["errors"][0]["type"]) == (503, "/problems/circuit-open")
    gateway.clock.advance(10)
    assert (await aggregate(gateway, *fine[:1])).status == 200


async def test_results_can_be_streamed_as_they_end(gateway: Deployment) -> None:
    reply = await aggregate(
        gateway,
        call("echo", 1),
        call("fail", **{"as": "bad"}),
        headers={"Accept": "application/x-ndjson"},
    )
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert {line["name"]: line["ok"] for line in lines[:-1]} == {"slow": True, "bad": False}
    assert lines[-1] == {"done": True, "complete": False}


async def test_the_envelope_is_asked_for_by_query(gateway: Deployment) -> None:
    reply = await aggregate(gateway, call("echo", 1), path="/api/aggregate?shape=envelope")
    assert reply.json["results"] == {"slow": 1}
    assert set(reply.json) == {"results", "errors", "complete", "timings"}


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"7", b"\xff", b"[" * 5_000, b'{"calls":' + b"[" * 80 + b"]" * 80 + b"}"]
)
async def test_a_bad_body_is_a_400(gateway: Deployment, body: bytes) -> None:
    reply = await gateway.send("POST", "/api/aggregate", body)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"


async def test_wrong_arguments_point_into_the_call(gateway: Deployment) -> None:
    reply = await aggregate(gateway, call("wait", 7))
    (error,) = reply.json["errors"]
    assert (reply.status, error["pointer"]) == (400, "/args/0")


async def test_a_cancelled_aggregate_leaves_no_probe_behind(gateway: Deployment) -> None:
    sending = asyncio.ensure_future(aggregate(gateway, call("wait", "a")))
    await entered(gateway, 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    slow(gateway).gate.set()
    status = await gateway.send("GET", "/api/circuit-breaker/status")
    assert status.json["slow"]["failures"] == 0
