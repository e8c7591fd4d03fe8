"""Rows G: what may begin, and what may leave."""

from __future__ import annotations

import asyncio
import threading

import pytest
from workers import Request, Response

from dohost.errors import JsException
from dohost.gates import Batch, OutputGate
from dohost.storage.database import Database
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/gates.py", evict_after_s=None)


def gated(dohost: IsolatedHost):
    return dohost.env.GATED.getByName("a")


async def notes(dohost: IsolatedHost) -> list[str]:
    return list(await gated(dohost).notes())


# Input gate -----------------------------------------------------------------------------------


async def test_G1_waiters_pass_in_order_and_one_at_a_time(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    calls = [stub.section("s"), *[stub.note(f"waiter {number}") for number in range(5)]]
    await dohost.advance(1)
    await asyncio.gather(*calls)
    assert await notes(dohost) == [
        "s begins",
        "s ends",
        "s is over",
        *[f"waiter {number}" for number in range(5)],
    ]


async def test_G2_a_section_keeps_others_out_and_lets_its_own_in(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    section, outside = stub.section_with_tasks(), stub.note("outside")
    await asyncio.gather(section, outside)
    assert await notes(dohost) == ["inner a", "inner b", "outside"]


async def test_G3_sections_run_in_order_and_before_plain_waiters(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    await asyncio.gather(stub.two_sections(), stub.note("plain"))
    assert await notes(dohost) == ["first", "second", "plain"]


async def test_G4_a_nested_section_keeps_its_parent_waiting(dohost: IsolatedHost) -> None:
    call = gated(dohost).nested()
    await dohost.advance(1)
    await call
    assert await notes(dohost) == ["inner begins", "inner ends", "beside"]


async def test_G4_what_outlives_a_section_goes_on_below_it(dohost: IsolatedHost) -> None:
    await gated(dohost).outlived()
    assert await notes(dohost) == ["section over"]
    await dohost.advance(2)
    assert await notes(dohost) == ["section over", "straggler"]


async def test_G5_a_failed_section_rejects_present_and_future_waiters(
    dohost: IsolatedHost,
) -> None:
    stub = gated(dohost)
    calls = [stub.failing_section(), stub.note("waiting"), stub.section("queued")]
    await dohost.advance(1)
    outcomes = await asyncio.gather(*calls, stub.note("later"), return_exceptions=True)
    assert len({id(outcome) for outcome in outcomes}) == 1
    assert "section failed" in outcomes[0].message


# Output gate ----------------------------------------------------------------------------------


def test_G6_an_output_waits_for_the_locks_before_it_and_no_later_ones() -> None:
    gate, first, second = OutputGate(), Batch(), Batch()
    assert gate.barrier() is None
    gate.lock(first)
    early = gate.barrier()
    gate.lock(second)
    late = gate.barrier()
    assert (early, late) == (first, second)
    second.finish(None)
    assert not first.is_done
    first.finish(None)
    assert gate.barrier() is None


def test_G7_a_failed_lock_rejects_every_wait() -> None:
    gate, batch, heard = OutputGate(), Batch(), []
    gate.lock(batch)
    gate.barrier().add_callback(heard.append)
    gate.barrier().add_callback(heard.append)
    failure = OSError("the disk is gone")
    batch.finish(failure)
    gate.break_with(failure)
    gate.barrier().add_callback(heard.append)
    assert heard == [failure] * 3


async def test_G8_sections_nest_to_a_depth_of_64_and_deeper_is_an_error_only(
    dohost: IsolatedHost,
) -> None:
    stub = gated(dohost)
    assert await stub.deep(63) == "bottom"
    assert await stub.deep(64) == "Error: blockConcurrencyWhile() calls are nested too deeply."
    assert await stub.deep(0) == "bottom"


async def test_G9_the_first_event_sees_what_the_constructor_initialised(
    dohost: IsolatedHost,
) -> None:
    response = await dohost.env.INITIALISED.getByName("a").fetch("http://do/")
    assert await response.text() == "initial"
    assert await dohost.env.INITIALISED.getByName("b").get() == "initial"


async def test_G10_a_section_gives_its_callbacks_value(dohost: IsolatedHost) -> None:
    assert await gated(dohost).storing_section() == [42, 1]
    assert await gated(dohost).plain_section() == 42


@pytest.mark.parametrize(
    ("steps", "is_delayed"),
    [
        (["confirmed"], True),
        (["unconfirmed"], False),
        (["unconfirmed", "confirmed"], True),
        (["confirmed", "unconfirmed"], True),
        (["sql"], True),
        (["unconfirmed", "sql"], True),
        ([], False),
    ],
)
async def test_G11_an_answer_waits_for_confirmed_writes_alone(
    dohost: IsolatedHost, steps: list[str], is_delayed: bool
) -> None:
    call = gated(dohost).write(steps)
    assert call.done() is not is_delayed
    assert await call == "answered"


async def test_G12_a_failed_commit_of_unconfirmed_writes_breaks_the_gate_anyway(
    dohost: IsolatedHost,
) -> None:
    stub = gated(dohost)
    dohost.fail_next_commit(stub)
    assert await stub.write(["unconfirmed"]) == "answered"
    await dohost.settle()
    with pytest.raises(JsException, match="SQLITE_FULL"):
        await stub.read()
    assert await gated(dohost).read() is None
    dohost.fail_next_commit(stub)
    with pytest.raises(JsException, match="SQLITE_FULL"):
        await gated(dohost).write(["unconfirmed", "sync"])


async def test_G13_many_syncs_share_one_commit(dohost: IsolatedHost) -> None:
    await gated(dohost).write(["confirmed"])
    committer = dohost._host.parts.committer
    before = committer.commits
    await gated(dohost).many_syncs()
    assert committer.commits == before + 1


async def test_G13_sync_waits_for_what_was_written_before_it(dohost: IsolatedHost) -> None:
    call = gated(dohost).write(["unconfirmed", "sync"])
    assert not call.done()
    assert await call == "answered"
    assert gated(dohost).write(["sync"]).done()


async def test_G14_a_rolled_back_transaction_locks_nothing(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    dohost.fail_next_commit(stub)
    assert await stub.rolled_back() == "answered"
    await dohost.settle()
    assert await gated(dohost).read() is None


async def test_G14_a_nested_transactions_write_is_its_parents(dohost: IsolatedHost) -> None:
    fault = dohost.fail_next_commit(gated(dohost))
    with pytest.raises(JsException):
        await gated(dohost).nested_transaction(False)
    assert fault.count == 1
    with pytest.raises(JsException, match="parent failed"):
        await gated(dohost).nested_transaction(True)
    assert await gated(dohost).read("child") is None
    await gated(dohost).nested_transaction(False)
    assert await gated(dohost).read("child") == 1


async def test_G16_a_request_leaves_only_when_the_writes_before_it_are_kept(
    dohost: IsolatedHost,
) -> None:
    told: list[str] = []

    async def internet(request: Request) -> Response:
        told.append(request.url)
        return Response("heard")

    dohost.internet = internet
    dohost.fail_next_commit(gated(dohost))
    with pytest.raises(JsException):
        await gated(dohost).write_and_fetch()
    assert told == []
    assert await gated(dohost).write_and_fetch() == "heard"
    assert told == ["https://example.com/told"]


async def test_G17_an_error_waits_for_the_commit_and_gives_way_to_its_failure(
    dohost: IsolatedHost,
) -> None:
    call = gated(dohost).write(["confirmed", "fail"])
    assert not call.done()
    with pytest.raises(JsException, match="the handler failed"):
        await call
    dohost.fail_next_commit(gated(dohost))
    with pytest.raises(JsException, match="SQLITE_FULL"):
        await gated(dohost).write(["confirmed", "fail"])


async def test_an_answer_that_a_disk_holds_for_30_seconds_is_an_error_and_a_reset(
    dohost: IsolatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(Database, "sync", lambda database: disk.wait(30))
    call = gated(dohost).write(["confirmed"])
    await asyncio.sleep(0.01)
    assert not call.done()
    dohost._loop_time.skip(31)
    with pytest.raises(JsException) as raised:
        await call
    assert raised.value.message == (
        "Durable Object storage operation exceeded timeout which caused object to be reset."
    )
    assert (raised.value.overloaded, raised.value.durableObjectReset) == (True, True)
    disk.set()
    assert await gated(dohost).read() == 1


async def test_G18_a_section_of_more_than_30_seconds_resets(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    call = stub.section("slow", 31)
    await dohost.advance(29)
    assert not call.done()
    await dohost.advance(1.5)
    with pytest.raises(JsException) as raised:
        await call
    assert raised.value.message == (
        "A call to blockConcurrencyWhile() in a Durable Object waited for too long. "
        "The call was canceled and the Durable Object was reset."
    )
    assert (raised.value.overloaded, raised.value.durableObjectReset) == (True, True)
    assert await notes(dohost) == []


async def test_G19_a_request_during_a_section_starts_after_it(dohost: IsolatedHost) -> None:
    stub = gated(dohost)
    section, second = stub.section("s"), stub.note("second request")
    await dohost.advance(0.9)
    assert not second.done()
    await dohost.advance(0.1)
    await asyncio.gather(section, second)
    assert (await notes(dohost))[-1] == "second request"


async def test_G20_an_alarm_that_is_due_during_a_section_runs_after_it(
    dohost: IsolatedHost,
) -> None:
    stub = gated(dohost)
    await stub.arm(dohost.now_ms + 1000)
    section = stub.section("s", 5)
    await dohost.advance(6)
    await section
    await dohost.settle()
    assert await notes(dohost) == ["s begins", "s ends", "s is over", "alarm"]


@pytest.mark.parametrize("how", ["directly", "by a task"])
async def test_a_section_that_awaits_what_it_keeps_out_is_told_so(
    dohost: IsolatedHost, how: str
) -> None:
    call = gated(dohost).deadlock(how)
    await dohost.advance(2)
    with pytest.raises(JsException) as raised:
        await call
    assert raised.value.message.startswith(
        "A critical section within this Durable Object awaited a Promise that apparently will never"
    )
    assert raised.value.durableObjectReset
    assert await gated(dohost).plain_section() == 42
