"""Rows C: what a reset ends, who hears of it, and what goes on."""

from __future__ import annotations

import asyncio

import pytest

from dohost.errors import JsException
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/resets.py")


def counter(dohost: IsolatedHost):
    return dohost.env.COUNTER.getByName("a")


async def errors_of(*calls) -> list[JsException]:
    """Await calls that all fail, and return what with."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, JsException) for outcome in outcomes), outcomes
    return outcomes


async def test_C1_abort_rejects_every_call_in_flight_and_queued(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    failures = await errors_of(stub.hang(), stub.stop("reason R"), stub.ping())
    assert {error.message for error in failures} == {"reason R"}


async def test_C2_the_old_stub_stays_broken_and_a_new_one_starts_anew(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    assert [await stub.remember(), await stub.remember()] == [1, 2]
    await errors_of(stub.stop("reason R"))
    for _ in range(2):
        (error,) = await errors_of(stub.increment())
        assert error.message == "reason R"
    assert await counter(dohost).remember() == 1


async def test_C3_a_failing_critical_section_rejects_all(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    failures = await errors_of(stub.hang(), stub.fail_in_section(), stub.ping())
    failures += await errors_of(stub.ping(), stub.increment())
    assert all("the section failed" in error.message for error in failures)
    assert all(error.durableObjectReset for error in failures)
    assert await counter(dohost).ping() == "pong"


async def test_C4_a_write_before_abort_is_discarded(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    assert [await stub.increment(), await stub.increment()] == [1, 2]
    (error,) = await errors_of(stub.put_and_break())
    assert error.message == "test broken"
    assert error.durableObjectReset
    assert await counter(dohost).increment() == 3


async def test_C5_abort_without_a_reason_has_a_standard_one(dohost: IsolatedHost) -> None:
    (error,) = await errors_of(counter(dohost).stop())
    assert error.message == "Application called abort() to reset Durable Object."
    assert error.remote


async def test_C6_abort_is_not_swallowed_by_except_exception(dohost: IsolatedHost) -> None:
    with pytest.raises(Exception, match="test abort reason"):
        await counter(dohost).stop("test abort reason")
    assert await counter(dohost).ping() == "pong"
    assert await (await counter(dohost).fetch("http://do/")).text() == "ok"


async def test_C7_a_failing_constructor_resets_and_a_new_stub_constructs_again(
    dohost: IsolatedHost,
) -> None:
    stub = dohost.env.FRAGILE.getByName("a")
    for call in (stub.ping(), stub.ping(), dohost.env.FRAGILE.getByName("a").ping()):
        (error,) = await errors_of(call)
        assert "not today" in error.message
        assert (error.remote, error.durableObjectReset) == (True, True)


async def test_C8_an_ordinary_exception_keeps_the_instance_and_the_stub(
    dohost: IsolatedHost,
) -> None:
    stub = counter(dohost)
    await stub.remember()
    (error,) = await errors_of(stub.fail())
    assert (error.remote, error.durableObjectReset) == (True, False)
    assert await stub.remember() == 2


@pytest.mark.parametrize("how", ["waitUntil", "task"])
async def test_C9_background_failures_do_not_end_the_object(dohost: IsolatedHost, how: str) -> None:
    stub = counter(dohost)
    await stub.remember()
    await stub.fail_behind(how)
    await dohost.settle()
    assert await stub.remember() == 2
    if how == "waitUntil":
        (event,) = dohost.events
        assert (event.name, event.level) == ("object.background_failed", "error")
        assert "nobody waits for this" in str(event.fields["error"])


async def test_C10_a_reset_keeps_the_alarm(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.arm(dohost.now_ms + 5000)
    await errors_of(stub.stop("reset"))
    await dohost.advance(5)
    assert await counter(dohost).fired() is True
