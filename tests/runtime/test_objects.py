"""Objects as user code sees them: calls, order, gates, storage, resets."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from dohost.errors import JsException

COUNTER = """
import asyncio

class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.memory = 0
        self.attribute = lambda: 1

    async def increment(self, by=1):
        value = (await self.ctx.storage.get("n") or 0) + by
        await self.ctx.storage.put("n", value)
        return value

    async def slow_increment(self):
        value = await self.ctx.storage.get("n") or 0
        await asyncio.sleep(0)
        await self.ctx.storage.put("n", value + 1)
        return value + 1

    async def safe_increment(self):
        return await self.ctx.blockConcurrencyWhile(self.slow_increment)

    def remember(self, by=1):
        self.memory += by
        return self.memory

    async def read(self):
        return await self.ctx.storage.get("n")

    async def hang(self):
        await asyncio.get_running_loop().create_future()

    def fail(self):
        raise ValueError("bad thing")

    async def stop(self, reason):
        self.ctx.storage.put("n", 888)
        try:
            self.ctx.abort(reason)
        except Exception:
            return "swallowed"

    def echo(self, *values):
        return list(values)

    def who(self):
        return self.ctx.id.name

    async def call(self, name, method):
        return await getattr(self.env.COUNTER.getByName(name), method)()

    async def write_then_call(self, name):
        self.ctx.storage.put("n", 1)
        return await self.env.COUNTER.getByName(name).read_file_of(self.ctx.id.toString())

    async def fetch(self, request):
        return Response(f"{request.method} {request.url}")

    def _private(self):
        return "secret"
"""


async def test_a_call_returns_the_methods_result(bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub().increment() == 1
    assert await bench.stub().increment(5) == 6
    assert await bench.stub("b").read() is None


async def test_three_calls_that_nobody_awaited_yet_answer_in_call_order(bench) -> None:
    await bench.run(COUNTER)
    stub = bench.stub()
    assert await asyncio.gather(stub.remember(15), stub.remember(4), stub.remember(3)) == [
        15,
        19,
        22,
    ]


async def test_the_same_name_reaches_the_same_instance_and_others_do_not(bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().remember()
    assert await bench.stub().remember() == 2
    assert await bench.stub("b").remember() == 1


async def test_reads_and_writes_with_only_storage_awaits_between_lose_no_update(bench) -> None:
    await bench.run(COUNTER)
    await asyncio.gather(*[bench.stub().increment() for _ in range(50)])
    assert await bench.stub().read() == 50


async def test_a_sleep_between_read_and_write_may_lose_updates(bench) -> None:
    await bench.run(COUNTER)
    await asyncio.gather(*[bench.stub().slow_increment() for _ in range(10)])
    assert await bench.stub().read() < 10


async def test_inside_block_concurrency_while_no_update_is_lost(bench) -> None:
    await bench.run(COUNTER)
    results = await asyncio.gather(*[bench.stub().safe_increment() for _ in range(20)])
    assert sorted(results) == list(range(1, 21))


async def test_an_answer_leaves_after_its_writes_are_in_the_file(bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().increment()
    actor = bench.actor()
    assert actor.line.is_clean
    with sqlite3.connect(f"file:{actor.database.path}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT key, value FROM _cf_KV").fetchall()
    connection.close()
    assert [(key, str(value)) for key, value in rows] == [("n", "1")]


async def test_an_object_that_never_wrote_has_no_file(bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub("random").read() is None
    assert not bench.actor("random").database.path.exists()


async def test_the_file_is_named_as_wrangler_names_it(bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().increment()
    object_id = bench.namespace().idFromName("a").toString()
    assert (bench.root / "data/v3/do/app-Counter" / f"{object_id}.sqlite").is_file()


async def test_data_survives_a_restart_and_memory_does_not(bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().increment()
    await bench.stub().remember()
    await bench.restart(COUNTER)
    assert await bench.stub().read() == 1
    assert await bench.stub().remember() == 1


async def test_an_evicted_object_comes_back_with_its_data_on_the_same_stub(bench) -> None:
    await bench.run(COUNTER)
    stub = bench.stub()
    await stub.increment()
    assert bench.actor().evict_if_idle()
    assert bench.actor() is None
    assert await stub.increment() == 2


async def test_an_exception_reaches_the_caller_and_the_object_lives_on(bench) -> None:
    await bench.run(COUNTER)
    stub = bench.stub()
    await stub.remember()
    with pytest.raises(JsException, match="ValueError: bad thing") as raised:
        await stub.fail()
    assert raised.value.remote
    assert not raised.value.durableObjectReset
    assert raised.value.durableObjectId == stub.id.toString()
    assert str(raised.value).startswith("PythonError: Traceback")
    assert isinstance(raised.value.__cause__, ValueError)
    assert await stub.remember() == 2


@pytest.mark.parametrize("name", ["_private", "attribute", "env", "ctx", "memory"])
async def test_what_is_no_public_method_is_not_callable(bench, name: str) -> None:
    await bench.run(COUNTER)
    with pytest.raises(TypeError, match=r"does not implement the method|does not exist"):
        await getattr(bench.stub(), name)()


@pytest.mark.parametrize("name", ["alarm", "webSocketMessage", "constructor", "dup"])
async def test_reserved_names_are_refused(bench, name: str) -> None:
    await bench.run(COUNTER)
    with pytest.raises(TypeError, match="is a reserved method and cannot be called over RPC"):
        await getattr(bench.stub(), name)()


async def test_a_method_that_does_not_exist_is_said_so(bench) -> None:
    await bench.run(COUNTER)
    with pytest.raises(JsException, match="TypeError: Method nope does not exist"):
        await bench.stub().nope()


async def test_arguments_and_results_are_copies(bench) -> None:
    await bench.run(COUNTER)
    value = {"list": [1, 2.0, {"deep": None}], "bytes": b"x"}
    (copy,) = await bench.stub().echo(value)
    assert copy == {"list": [1, 2, {"deep": None}], "bytes": b"x"}
    assert copy is not value
    assert copy.list[2].deep is None
    with pytest.raises(TypeError, match="tuple'> cannot be sent over RPC"):
        await bench.stub().echo((1, 2))


async def test_keywords_travel_as_one_trailing_object(bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub().echo(1, limit=2) == [1, {"limit": 2}]


async def test_fetch_passes_the_request_and_returns_the_response(bench) -> None:
    await bench.run(COUNTER)
    response = await bench.stub().fetch("http://do/path", method="POST")
    assert await response.text() == "POST http://do/path"


async def test_an_object_knows_its_name(bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub("alice").who() == "alice"
    by_id = bench.namespace().get(bench.namespace().newUniqueId())
    assert await by_id.who() is None


async def test_objects_call_one_another_and_themselves(bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub("a").call("b", "increment") == 1
    assert await bench.stub("a").call("a", "increment") == 1


async def test_abort_fails_calls_in_flight_and_drops_uncommitted_writes(bench) -> None:
    await bench.run(COUNTER)
    stub = bench.stub()
    await stub.increment()
    hanging = asyncio.ensure_future(stub.hang())
    await asyncio.sleep(0)
    with pytest.raises(JsException, match="test broken") as raised:
        await stub.stop("test broken")
    assert raised.value.durableObjectReset
    for call in (hanging, stub.increment()):
        with pytest.raises(JsException, match="test broken"):
            await call
    assert await bench.stub().increment() == 2


async def test_cancelling_a_caller_does_not_cancel_the_call(bench) -> None:
    await bench.run(COUNTER)
    task = asyncio.create_task(asyncio.wait_for(bench.stub().slow_increment(), 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(3):
        await asyncio.sleep(0)
    assert await bench.stub().read() == 1


async def test_a_reply_may_be_awaited_later_and_more_than_once(bench) -> None:
    await bench.run(COUNTER)
    reply = bench.stub().increment()
    assert await reply == 1
    assert await reply == 1


CONSTRUCTORS = """
class Fragile(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        raise ValueError("no constructor today")

    def ping(self):
        return "pong"

class Slow(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.ready = False
        ctx.blockConcurrencyWhile(self.initialise)

    async def initialise(self):
        import asyncio
        await asyncio.sleep(0)
        self.ready = True
        return 42

    def is_ready(self):
        return self.ready

class Refusing(DurableObject):
    async def break_it(self):
        async def callback():
            raise ValueError("section failed")
        await self.ctx.blockConcurrencyWhile(callback)

    def ping(self):
        return "pong"

class Nested(DurableObject):
    async def nest(self, depth):
        async def inner():
            return await self.nest(depth - 1) if depth else "bottom"
        return await self.ctx.blockConcurrencyWhile(inner)

class Transactions(DurableObject):
    async def commits(self):
        async def callback(txn):
            await txn.put("n", 1)
            return await txn.get("n")
        return await self.ctx.storage.transaction(callback)

    async def fails(self):
        async def callback(txn):
            await txn.put("n", 2)
            raise ValueError("undo")
        await self.ctx.storage.transaction(callback)

    async def interleaves(self):
        import asyncio
        async def callback(txn):
            value = await txn.get("n") or 0
            await asyncio.sleep(0)
            await txn.put("n", value + 1)
        await self.ctx.storage.transaction(callback)

    async def read(self):
        return await self.ctx.storage.get("n")
"""


async def test_a_failing_constructor_resets_and_the_next_stub_tries_again(bench) -> None:
    await bench.run(CONSTRUCTORS)
    for _ in range(2):
        with pytest.raises(JsException, match="no constructor today") as raised:
            await bench.stub(class_name="Fragile").ping()
        assert raised.value.remote
        assert raised.value.durableObjectReset


async def test_the_first_event_waits_for_a_section_that_the_constructor_started(bench) -> None:
    await bench.run(CONSTRUCTORS)
    assert await bench.stub(class_name="Slow").is_ready() is True


async def test_a_section_that_fails_resets_the_object(bench) -> None:
    await bench.run(CONSTRUCTORS)
    stub = bench.stub(class_name="Refusing")
    with pytest.raises(JsException, match="section failed") as raised:
        await stub.break_it()
    assert raised.value.durableObjectReset
    with pytest.raises(JsException, match="section failed"):
        await stub.ping()
    assert await bench.stub(class_name="Refusing").ping() == "pong"


async def test_sections_nest_to_a_depth_of_64(bench) -> None:
    await bench.run(CONSTRUCTORS)
    assert await bench.stub(class_name="Nested").nest(63) == "bottom"
    with pytest.raises(JsException, match="nested too deeply"):
        await bench.stub(class_name="Nested").nest(64)


async def test_a_transaction_commits_or_undoes_and_keeps_others_out(bench) -> None:
    await bench.run(CONSTRUCTORS)
    stub = bench.stub(class_name="Transactions")
    assert await stub.commits() == 1
    with pytest.raises(JsException, match="undo"):
        await stub.fails()
    assert await stub.read() == 1
    await asyncio.gather(*[stub.interleaves() for _ in range(10)])
    assert await stub.read() == 11
