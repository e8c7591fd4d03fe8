"""Object names, and what becomes of a call."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.clock import ManualClock
from dohost.gateway.config_tables import ServiceConfig
from dohost.gateway.problems import Problem
from dohost.gateway.upstream import Answered, Failed, Sent, Target, target_chosen, target_of

SHARED = ServiceConfig(name="s", binding="S", scope="shared", object="{id}")
OWN = ServiceConfig(name="s", binding="S", object="{id}")
names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())


def name_of(service: ServiceConfig, tenant: str, **values: object) -> str:
    found = target_of(service, tenant, values=values)
    assert isinstance(found, Target)
    return found.object_name


@given(names, names)
def test_different_values_never_give_one_name(one: str, other: str) -> None:
    same = name_of(OWN, "t", id=one) == name_of(OWN, "t", id=other)
    assert same == (one == other)


@given(names, names)
def test_different_tenants_never_share_a_name(one: str, other: str) -> None:
    assert name_of(OWN, "a", id=one) != name_of(OWN, "b", id=other)


def test_a_template_of_two_values_keeps_them_apart() -> None:
    service = ServiceConfig(name="s", binding="S", scope="shared", object="{a}/{b}")
    assert name_of(service, "t", a="x/y", b="z") == "x%2Fy/z"
    assert name_of(service, "t", a="x", b="y/z") == "x/y%2Fz"


def test_a_missing_value_means_the_directory() -> None:
    assert name_of(SHARED, "t") == "$main"
    assert name_of(OWN, "t") == "t/$main"


def test_no_value_can_name_the_directory() -> None:
    assert name_of(SHARED, "t", id="$main") == "%24main"


@pytest.mark.parametrize("value", ["", ["x"], {"a": 1}, 1.5, "é" * 400])
def test_values_that_can_not_be_names_are_refused(value: object) -> None:
    assert isinstance(target_of(SHARED, "t", values={"id": value}), Problem)


def test_a_clients_choice_goes_through_the_same_rule() -> None:
    found = target_chosen(OWN, "acme", "../other/x")
    assert isinstance(found, Target)
    assert found.object_name == "acme/..%2Fother%2Fx"
    assert isinstance(target_chosen(OWN, "acme", ""), Problem)


def sent(start: object, timeout_s: float = 5) -> Sent:
    return Sent(start, timeout_s=timeout_s, clock=ManualClock())  # type: ignore[arg-type]  # also wrong ones are tried


async def test_an_answer_is_delivered() -> None:
    async def work() -> int:
        return 7

    assert await sent(work).outcome("s") == Answered(7)


async def test_what_escapes_is_a_failure_without_internals() -> None:
    async def work() -> int:
        raise RuntimeError("a secret")

    ended = await sent(work).outcome("s")
    assert isinstance(ended, Failed)
    assert ended.problem.status == 500
    assert "secret" not in ended.problem.detail
    assert str(ended.cause) == "a secret"


async def test_a_call_that_can_not_start_is_a_failure() -> None:
    def start() -> None:
        raise OSError("no route")

    ended = await sent(start).outcome("s")
    assert isinstance(ended, Failed)
    assert ended.problem.status == 502


async def test_silence_ends_at_the_deadline() -> None:
    ended = await sent(asyncio.Event().wait, timeout_s=0).outcome("s")
    assert isinstance(ended, Failed)
    assert ended.problem.status == 504


async def test_an_answer_that_is_there_needs_no_timer() -> None:
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done.set_result(7)
    assert await sent(lambda: done, timeout_s=0).outcome("s") == Answered(7)


async def test_a_cancelled_wait_is_a_cancellation_and_no_failure() -> None:
    waiting = asyncio.ensure_future(sent(asyncio.Event().wait).outcome("s"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
