"""Section 12.B: whose a stub is, when it ends, and what it keeps alive."""

from __future__ import annotations

import msgspec
import pytest
from rpc_programs import OBJECTS, owner, settle
from workers.rpc import Symbol

from dohost.config import ServiceBinding
from dohost.errors import JsException

DISPOSED = "Error: RPC stub used after being disposed."
GONE = "Error: The execution context which hosts this callback is no longer running."


@pytest.mark.parametrize("date", ["2026-01-19", "2026-01-20", None])
async def test_B25_a_stub_that_is_passed_moves_or_is_duplicated_by_date(bench, date) -> None:
    config = bench.config(
        OBJECTS
        + """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        first, second = (self.env.OWNER.getByName(name) for name in "ab")
        greeter = await first.greeter("Ada")
        await second.has(greeter)
        try:
            return Response(await greeter.greet("Again"))
        except Exception as error:
            return Response(str(error))
"""
    )
    await bench.run(msgspec.structs.replace(config, compatibility_date=date))
    expected = DISPOSED if date == "2026-01-19" else "Again, Ada"
    assert await (await bench.get()).text() == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("Greeter", ["x", "x"]), ("Duplicated", ["dup of x", "dup of x"])]
)
async def test_B25_a_target_is_disposed_once_for_each_call(bench, kind, expected) -> None:
    config = bench.config(
        OBJECTS
        + f"""
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        stub = self.env.OWNER.getByName("a")
        target = {kind}("x")
        for _ in range(2):
            await stub.has(target)
        await asyncio.sleep(0.001)
        return Response.json(disposed)
"""
    )
    await bench.run(config)
    assert await (await bench.get()).json() == expected


async def test_B26_a_disposed_stub_can_not_be_used(bench) -> None:
    stub = await owner(bench)
    for dispose in (
        lambda target: target.dispose(),
        lambda target: target[Symbol.dispose](),
        lambda target: target.__exit__(None, None, None),
    ):
        greeter = await stub.greeter("Ada")
        dispose(greeter)
        dispose(greeter)
        with pytest.raises(JsException) as raised:
            await greeter.greet("Hello")
        assert str(raised.value) == DISPOSED
        with pytest.raises(JsException, match="used after being disposed"):
            greeter.dup()
    await settle()
    assert await stub.disposed() == ["Ada"] * 3


async def test_B26_disposing_of_a_result_ends_every_stub_in_it(bench) -> None:
    stub = await owner(bench)
    result = await stub.greeters()
    assert result == {**result}
    assert result["plain"] == result.plain == 1
    assert await result.first.greet("Hello") == "Hello, one"
    result[Symbol.dispose]()
    for greeter in (result.first, result.nested[0]):
        with pytest.raises(JsException, match="used after being disposed"):
            await greeter.greet("Hello")
    with await stub.greeters() as again:
        assert await again.nested[0].greet("Hello") == "Hello, two"
    await settle()
    assert sorted(await stub.disposed()) == ["one", "one", "two", "two"]


async def test_B26_a_target_is_disposed_with_its_last_stub_also_by_letting_go(bench) -> None:
    stub = await owner(bench)
    greeter = await stub.greeter("Ada")
    twin = greeter.dup()
    greeter.dispose()
    await settle()
    assert await stub.disposed() == []
    assert await twin.greet("Hello") == "Hello, Ada"
    del twin
    await settle()
    assert await stub.disposed() == ["Ada"]


async def test_B27_an_argument_ends_with_the_call_unless_it_was_duplicated(bench) -> None:
    stub = await owner(bench)
    assert await stub.keep(lambda: 1) == "kept"
    with pytest.raises(JsException) as raised:
        await stub.use_kept()
    assert str(raised.value) == DISPOSED
    assert await stub.keep_dup(lambda value: value + 1) == "kept"
    assert await stub.use_kept(41) == 42
    await stub.release()
    with pytest.raises(JsException, match="used after being disposed"):
        await stub.use_kept(41)


SERVICE = """
from workers import RpcTarget

leaked = []

class Holder(RpcTarget):
    def __init__(self, callback):
        self.callback = callback

    async def use(self):
        return await self.callback()

class Default(WorkerEntrypoint):
    async def hold(self, callback):
        return Holder(callback.dup())

    async def leak(self, callback):
        leaked.append(callback.dup())
        return {"plain": True}

    async def use_leaked(self):
        return await leaked[-1]()

    async def in_background(self, callback):
        import asyncio
        twin = callback.dup()
        async def later():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            leaked.append(await twin())
        self.ctx.waitUntil(later())

    async def leaked_value(self):
        return leaked[-1]
"""
CLIENT = """
import asyncio
from workers import RpcTarget

disposed = []

class Target(RpcTarget):
    def dispose(self):
        disposed.append(1)

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response.json(await getattr(self, request.url.rpartition("/")[2])())

    async def until_disposed(self):
        holder = await self.env.SERVICE.hold(lambda: 5)
        value = await holder.use()
        return value

    async def leaks(self):
        answer = await self.env.SERVICE.leak(lambda: 5)
        await asyncio.sleep(0)
        try:
            return [answer, await self.env.SERVICE.use_leaked()]
        except Exception as error:
            return [answer, str(error)]

    async def background(self):
        await self.env.SERVICE.in_background(lambda: 7)
        for _ in range(10):
            await asyncio.sleep(0)
        return await self.env.SERVICE.leaked_value()
"""


async def with_service(bench) -> None:
    client = bench.config(
        CLIENT, name="client", services=(ServiceBinding(binding="SERVICE", service="service"),)
    )
    await bench.run(client, bench.config(SERVICE, name="service"))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("until_disposed", 5),
        ("leaks", [{"plain": True}, DISPOSED]),
        ("background", 7),
    ],
)
async def test_B27_B28_duplicates_in_a_worker_end_with_its_event(bench, what, expected) -> None:
    await with_service(bench)
    assert await (await bench.get(f"http://x/{what}")).json() == expected


async def test_B35_a_target_of_an_object_that_was_reset_is_gone(bench) -> None:
    stub = await owner(bench)
    greeter = await stub.greeter("Ada")
    with pytest.raises(JsException, match="gone"):
        await stub.abort_it()
    with pytest.raises(JsException) as raised:
        await greeter.greet("Hello")
    assert str(raised.value) == GONE


async def test_a_live_session_keeps_the_object_and_its_end_lets_it_go(bench) -> None:
    stub = await owner(bench)
    counter = await stub.make_counter()
    assert not bench.actor(class_name="Owner").evict_if_idle()
    assert await counter(1) == 1
    counter.dispose()
    assert bench.actor(class_name="Owner").evict_if_idle()
    assert await stub.make_counter() is not None
