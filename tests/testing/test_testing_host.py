"""What a test may ask of its isolated host. (Long: one promise per method.)"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from workers import Response

from dohost.errors import CallerError, JsException
from dohost.testing import IsolatedHost, SocketClient, StorageHandle

pytestmark = pytest.mark.dohost(main="programs/counter.py")


def counter(dohost: IsolatedHost, name: str = "a"):
    return dohost.env.COUNTER.getByName(name)


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_has_data_of_its_own(dohost: IsolatedHost, attempt: int) -> None:
    assert await counter(dohost).increment() == 1


async def test_the_host_says_what_it_is(dohost: IsolatedHost) -> None:
    await counter(dohost).increment()
    assert repr(dohost) == f"<IsolatedHost counter: 1 objects live, now {dohost.now_ms} ms>"


# Objects ------------------------------------------------------------------------------------


async def test_eviction_loses_memory_and_keeps_data(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()
    await dohost.evict(stub)
    assert await stub.remembered() == 0
    assert await stub.increment() == 2


async def test_what_does_not_run_cannot_be_evicted(dohost: IsolatedHost) -> None:
    with pytest.raises(
        JsException, match="Cannot evict Durable Object: it is not currently running"
    ):
        await dohost.evict(counter(dohost))


async def test_what_is_busy_cannot_be_evicted(dohost: IsolatedHost) -> None:
    await counter(dohost).nap_behind(60)
    with pytest.raises(CallerError, match="background work"):
        await dohost.evict(counter(dohost))
    await dohost.advance(60)
    await dohost.evict(counter(dohost))


async def test_all_are_evicted_at_once(dohost: IsolatedHost) -> None:
    for name in "abc":
        await counter(dohost, name).increment()
    assert await dohost.evict_all() == 3
    assert await counter(dohost).remembered() == 0


async def test_a_function_runs_inside_an_object(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()

    async def look(instance, state):
        instance.memory = 999
        return instance, await state.storage.get("count"), state.id.name

    instance, count, name = await dohost.run_in_object(stub, look)
    assert (count, name) == (1, "a")
    assert instance.memory == await stub.remembered() == 999


async def test_what_a_function_inside_raises_comes_out_as_it_is(dohost: IsolatedHost) -> None:
    def fail(instance, state):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        await dohost.run_in_object(counter(dohost), fail)


async def test_only_objects_that_stored_something_are_listed(dohost: IsolatedHost) -> None:
    namespace = dohost.env.COUNTER
    assert await dohost.list_ids(namespace) == []
    await counter(dohost, "silent").remembered()
    for name in "ab":
        await counter(dohost, name).increment()
    ids = await dohost.list_ids(namespace)
    assert {each.name for each in ids} == {"a", "b"}
    assert ids == sorted(ids, key=str)


async def test_storage_is_seeded_before_and_read_after(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    storage = dohost.storage(stub)
    assert isinstance(storage, StorageHandle)
    assert repr(storage) == "<StorageHandle counter-Counter 'a'>"
    await storage.put("count", 41)
    assert await stub.increment() == 42
    assert await storage.get("count") == 42
    assert await storage.list() == {"count": 42}
    assert await storage.delete("count") is True
    await storage.put_all({"x": 1, "y": 2})
    assert await storage.list(prefix="y") == {"y": 2}
    await storage.exec("CREATE TABLE seeds (name TEXT)")
    await storage.exec("INSERT INTO seeds VALUES (?)", "oak")
    assert await storage.exec("SELECT name FROM seeds") == [{"name": "oak"}]


async def test_an_object_is_aborted_with_a_reason(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()
    await dohost.abort(stub, "enough")
    with pytest.raises(JsException, match="enough") as raised:
        await stub.increment()
    assert raised.value.durableObjectReset
    assert await counter(dohost).remembered() == 0


async def test_a_stub_of_elsewhere_is_refused(dohost: IsolatedHost) -> None:
    with pytest.raises(CallerError, match=r"take it from dohost\.env"):
        await dohost.evict("COUNTER")


# Alarms and time ------------------------------------------------------------------------------


async def test_an_alarm_runs_on_demand(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    assert await dohost.run_alarm(stub) is False
    await stub.arm(3600)
    assert await dohost.run_alarm(stub) is True
    assert await stub.armed() is None
    assert await dohost.run_alarm(stub) is False
    await dohost.advance(7200)
    assert await dohost.env.LEDGER.getByName("all").names() == ["a"]


async def test_an_alarm_that_fails_on_demand_stays_set(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await dohost.storage(stub).put("is_failing", True)
    await stub.arm(3600)
    with pytest.raises(ValueError, match="no alarm today"):
        await dohost.run_alarm(stub)
    assert await stub.armed() == dohost.now_ms + 3_600_000


async def test_alarms_fire_in_order_and_at_their_time(dohost: IsolatedHost) -> None:
    due = {"late": 50, "soon": 5, "never": 101, "early": 0.5}
    started_ms = dohost.now_ms
    for name, seconds in due.items():
        await counter(dohost, name).arm(seconds)
    await dohost.advance(100)
    assert await dohost.env.LEDGER.getByName("all").names() == ["early", "soon", "late"]
    for name in ("early", "soon", "late"):
        fired_at = await counter(dohost, name).fired_at()
        assert fired_at == started_ms / 1000 + due[name]
    assert await counter(dohost, "never").fired_at() is None


async def test_a_failing_alarm_is_retried_as_time_goes_on(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await dohost.storage(stub).put("is_failing", True)
    await stub.arm(1)
    await dohost.advance(2)
    assert [event.name for event in dohost.events] == ["alarm.failed", "alarm.retry"]
    await dohost.storage(stub).put("is_failing", False)
    await dohost.advance(3)
    assert await stub.fired_at() is not None


async def test_the_programs_own_clocks_are_the_tests(dohost: IsolatedHost) -> None:
    now_s = dohost.now_ms / 1000
    assert await counter(dohost).times() == [now_s] * 3
    await dohost.advance(1.5)
    assert await counter(dohost).times() == [now_s + 1.5] * 3


@pytest.mark.dohost(fake_time=False)
async def test_a_program_may_keep_the_real_clocks(dohost: IsolatedHost) -> None:
    wall, moment, date = await counter(dohost).times()
    assert abs(wall - moment) < 60
    assert date == dohost.now_ms / 1000


async def test_sleeps_are_skipped(dohost: IsolatedHost) -> None:
    call = counter(dohost).nap(3600)
    await dohost.advance(3599)
    assert not call.done()
    await dohost.advance(1)
    assert await call == "rested"


async def test_idle_objects_are_evicted_as_time_goes_on(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()
    await dohost.advance(8)
    assert await stub.remembered() == 1
    await dohost.advance(12)
    assert await stub.remembered() == 0


@pytest.mark.dohost(evict_after_s=None)
async def test_eviction_can_be_turned_off(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()
    await dohost.advance(3600)
    assert await stub.remembered() == 1


async def test_time_does_not_go_back(dohost: IsolatedHost) -> None:
    with pytest.raises(CallerError, match="forward only"):
        await dohost.advance(-1)


# The program's face ---------------------------------------------------------------------------


async def test_a_request_in_process(dohost: IsolatedHost) -> None:
    response = await dohost.fetch("/hello", method="POST", body="x")
    assert await response.json() == {"url": "http://localhost/hello", "ip": "127.0.0.1"}
    elsewhere = await dohost.fetch("https://example.com/", headers={"CF-Connecting-IP": "1.2.3.4"})
    assert await elsewhere.json() == {"url": "https://example.com/", "ip": "1.2.3.4"}
    with pytest.raises(ValueError, match="a broken page"):
        await dohost.fetch("/fail")


async def test_the_test_is_the_internet(dohost: IsolatedHost) -> None:
    with pytest.raises(OSError, match=r"dohost\.internet = a function"):
        await dohost.fetch("/weather")
    dohost.internet = lambda request: Response(f"sunny at {request.url}")
    assert await (await dohost.fetch("/weather")).text() == "sunny at https://weather.example/today"


async def test_a_client_without_a_listening_socket(dohost: IsolatedHost) -> None:
    async with dohost.client() as http:
        for _ in range(2):
            async with http.get("/hello") as response:
                assert response.status == 200
                assert await response.json() == {"url": "http://localhost/hello", "ip": "127.0.0.1"}
        assert (await http.get("/fail")).status == 500


async def test_a_client_through_a_socket(dohost: IsolatedHost, aiohttp_client) -> None:
    client = await aiohttp_client(dohost.server())
    response = await client.get("/hello")
    assert (await response.json())["ip"] == "127.0.0.1"
    async with dohost.listen() as url:
        assert url.startswith("http://127.0.0.1:")


async def test_a_web_socket_in_process(dohost: IsolatedHost) -> None:
    socket = await dohost.websocket("/chat")
    assert isinstance(socket, SocketClient)
    socket.send("hi")
    assert await socket.receive() == "you said hi"
    socket.send("bye")
    assert [message async for message in socket] == ["you said bye"]
    assert (socket.closed.code, socket.closed.reason) == (1000, "as you wish")
    with pytest.raises(TimeoutError, match="nothing came through"):
        await socket.receive(timeout_s=0.001)


async def test_a_web_socket_straight_to_an_object(dohost: IsolatedHost) -> None:
    socket = await dohost.websocket("/", to=counter(dohost))
    socket.send(b"x")
    assert await socket.receive() == "you said b'x'"
    socket.close(1000, "done")


async def test_a_web_socket_over_http(dohost: IsolatedHost) -> None:
    async with dohost.client() as http, http.ws_connect("/chat") as socket:
        await socket.send_str("hi")
        assert await socket.receive_str() == "you said hi"


async def test_no_web_socket_is_an_error_that_shows_the_answer(dohost: IsolatedHost) -> None:
    with pytest.raises(CallerError, match="nothing here"):
        await dohost.websocket("/", to=_Fixed("nothing here"))


class _Fixed:
    def __init__(self, text: str) -> None:
        self.text = text

    async def fetch(self, url: str, **options: object):
        return Response(self.text)


# Faults ---------------------------------------------------------------------------------------


async def test_a_failed_commit_is_heard_and_nothing_is_kept(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    await stub.increment()
    fault = dohost.fail_next_commit(stub)
    with pytest.raises(JsException) as raised:
        await stub.increment()
    error = raised.value
    assert str(error) == "Error: database or disk is full: SQLITE_FULL"
    assert (error.code, error.status) == ("storage-full", 507)
    assert (error.remote, error.durableObjectReset, error.retryable) == (True, True, False)
    assert error.durableObjectId == stub.id.toString()
    assert fault.is_over
    again = counter(dohost)
    assert (await again.increment(), await again.remembered()) == (2, 1)


async def test_a_commit_of_unknown_outcome_says_so(dohost: IsolatedHost) -> None:
    dohost.fail_next_commit(counter(dohost), outcome="unknown")
    with pytest.raises(JsException) as raised:
        await counter(dohost).increment()
    assert raised.value.code == "outcome-unknown"


async def test_an_overloaded_object_refuses(dohost: IsolatedHost) -> None:
    with dohost.overload(counter(dohost), times=None) as fault:
        for _ in range(2):
            with pytest.raises(JsException, match="Too many requests queued") as raised:
                await counter(dohost).increment()
            assert (raised.value.overloaded, raised.value.retryable) == (True, False)
    assert fault.count == 2
    assert "2 happened, over" in repr(fault)
    assert await counter(dohost).increment() == 1


async def test_a_lost_call_may_be_made_again_on_a_new_stub(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    dohost.disconnect(stub)
    for _ in range(2):
        with pytest.raises(JsException, match=r"Network connection lost\.") as raised:
            await stub.increment()
        assert (raised.value.retryable, raised.value.overloaded) == (True, False)
        assert not raised.value.durableObjectReset
    assert await counter(dohost).increment() == 1


async def test_a_lost_answer_is_of_a_call_that_ran(dohost: IsolatedHost) -> None:
    dohost.disconnect(counter(dohost), delivered=True)
    with pytest.raises(JsException, match="Network connection lost"):
        await counter(dohost).increment()
    assert await counter(dohost).increment() == 2


async def test_a_lost_request_is_like_a_lost_call(dohost: IsolatedHost) -> None:
    dohost.disconnect(counter(dohost))
    with pytest.raises(JsException, match="Network connection lost"):
        await counter(dohost).fetch("http://do/")


async def test_the_programs_own_handling_of_faults_is_tried(dohost: IsolatedHost) -> None:
    ledger = dohost.env.LEDGER.getByName("all")
    dohost.disconnect(counter(dohost), times=2)
    assert await ledger.call("a") == 1
    dohost.overload(counter(dohost))
    with pytest.raises(JsException, match="overloaded") as raised:
        await ledger.call("a")
    assert raised.value.overloaded


async def test_calls_are_late_by_the_tests_clock(dohost: IsolatedHost) -> None:
    fault = dohost.delay(counter(dohost), 30)
    call = counter(dohost).increment()
    failing = counter(dohost).nope()
    await dohost.advance(29)
    assert not call.done()
    await dohost.advance(1)
    assert await call == 1
    with pytest.raises(JsException, match="does not exist"):
        await failing
    fault.lift()
    assert await counter(dohost).increment() == 2


async def test_a_deployment_resets(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    napping = stub.nap(1)
    await dohost.reset(stub)
    for call in (napping, stub.increment()):
        with pytest.raises(JsException, match="because its code was updated") as raised:
            await call
        assert raised.value.durableObjectReset
    assert await counter(dohost).increment() == 1
    with pytest.raises(JsException, match="not currently running"):
        await dohost.reset(counter(dohost, "nobody"))


# Life -----------------------------------------------------------------------------------------


async def test_a_restart_keeps_data_and_alarms(dohost: IsolatedHost) -> None:
    await counter(dohost).increment()
    await counter(dohost).arm(5)
    await dohost.restart()
    assert await counter(dohost).increment() == 2
    await dohost.advance(5)
    assert await dohost.env.LEDGER.getByName("all").names() == ["a"]


async def test_a_reload_keeps_data_and_takes_new_stubs(dohost: IsolatedHost) -> None:
    await counter(dohost).increment()
    await dohost.reload()
    assert await counter(dohost).remembered() == 0
    assert await counter(dohost).increment() == 2


async def test_a_call_left_hanging_does_not_keep_the_test_from_ending(dohost: IsolatedHost) -> None:
    call = asyncio.ensure_future(counter(dohost).nap(3600))
    await asyncio.sleep(0)
    assert not call.done()


def test_the_fake_classes_make_real_values(dohost: IsolatedHost) -> None:
    from dohost.testing.worker_time import worker_modules

    fake = worker_modules(dohost.clock)["datetime"]
    moment = fake.datetime(2026, 1, 2, tzinfo=fake.UTC)
    assert type(moment) is datetime
    assert isinstance(moment, fake.datetime)
    assert issubclass(datetime, fake.datetime)
    assert not isinstance("x", fake.date)
    assert type(fake.datetime.fromisoformat("2026-01-02")) is datetime
    assert (
        fake.datetime.now(fake.UTC) - fake.datetime.utcnow().replace(tzinfo=fake.UTC) == timedelta()
    )
    assert fake.datetime.today().date() == fake.date.today()
    assert fake.date(2026, 1, 2).isoformat() == "2026-01-02"
