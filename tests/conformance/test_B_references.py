"""Section 12.B: functions, RPC targets and stubs as arguments and results."""

from __future__ import annotations

import asyncio

import pytest
from rpc_programs import owner, settle


async def test_B16_a_returned_function_is_a_stub_that_keeps_its_state(bench) -> None:
    counter = await (await owner(bench)).make_counter()
    assert [await counter(2), await counter(-1), await counter(-6)] == [2, 1, -5]


async def test_B17_a_function_as_an_argument_is_called_back(bench) -> None:
    calls = 0

    def callback() -> int:
        nonlocal calls
        calls += 1
        return calls

    assert await (await owner(bench)).call_twice(callback) == [1, 2]


async def test_B18_a_returned_target_has_its_methods_and_nothing_else(bench) -> None:
    greeter = await (await owner(bench)).greeter("Ada")
    assert await greeter.greet("Hello") == "Hello, Ada"
    assert await greeter.fetch("it") == "fetched it"
    for name in ("attribute", "own", "name", "nope", "_private"):
        with pytest.raises(TypeError) as raised:
            await getattr(greeter, name)()
        assert raised.value.message == f'The RPC receiver does not implement the method "{name}".'
    with pytest.raises(TypeError, match="'constructor' is a reserved method"):
        await greeter.constructor()
    with pytest.raises(TypeError, match="is not a function"):
        await greeter("Hello")


async def test_B24_a_stub_as_an_argument_works_and_has_no_id_and_name(bench) -> None:
    first, second = await owner(bench, "a"), await owner(bench, "b")
    assert await first.call_stub(second) == [1, True, "PassedFetcher"]
    assert await first.call_stub(bench.stub("b", class_name="Owner")) == [2, True, "PassedFetcher"]


async def test_B24_a_stub_in_a_result_works_as_well(bench) -> None:
    first, second = await owner(bench, "a"), await owner(bench, "b")
    passed = await first.return_it(second)
    assert await passed.note() == 1
    assert not hasattr(passed, "__dict__")


async def test_B32_a_callback_comes_back_into_the_section_that_waits_for_it(bench) -> None:
    await bench.run(
        """
        class Caller(DurableObject):
            async def run(self):
                async def section():
                    def callback():
                        return 12345
                    return await self.env.CALLEE.getByName("x").call(callback)
                return await self.ctx.blockConcurrencyWhile(section)

        class Callee(DurableObject):
            async def call(self, callback):
                import asyncio
                await asyncio.sleep(0)
                return await callback()
        """
    )
    assert await bench.stub(class_name="Caller").run() == 12345


async def test_a_callback_runs_as_an_event_of_the_object_that_it_comes_from(bench) -> None:
    first = await owner(bench, "a")
    await owner(bench, "b")
    assert await first.pass_own("b") == [1, 2]


async def test_a_stub_that_is_passed_on_still_calls_its_origin(bench) -> None:
    stub = await owner(bench)
    assert await stub.pass_on("b", lambda: "here") == ["here", "here"]


async def test_an_argument_that_is_returned_is_the_callers_own_then(bench) -> None:
    stub = await owner(bench)
    back = await stub.return_it(lambda value: value * 2)
    assert await back(21) == 42


async def test_callbacks_begin_in_the_order_in_which_they_were_made(bench) -> None:
    await bench.run(
        """
        import asyncio
        class Caller(DurableObject):
            async def run(self):
                seen = []
                async def callback(number):
                    seen.append(number)
                    await asyncio.sleep(0)
                    return number
                results = await self.env.CALLEE.getByName("x").call(callback)
                return [seen, results]

        class Callee(DurableObject):
            async def call(self, callback):
                # The first ones find the caller's gate closed; the last ones find it open.
                early = [callback(number) for number in range(3)]
                await asyncio.sleep(0)
                late = [callback(number) for number in range(3, 6)]
                return await asyncio.gather(*early, *late)
        """
    )
    numbers = [0, 1, 2, 3, 4, 5]
    assert await bench.stub(class_name="Caller").run() == [numbers, numbers]


async def test_a_callback_waits_for_the_writes_before_it_on_both_sides(bench) -> None:
    await bench.run(
        """
        class Caller(DurableObject):
            async def run(self):
                async def callback(seen):
                    self.ctx.storage.put("answered", seen)
                    return seen
                return await self.env.CALLEE.getByName("x").call(callback)

        class Callee(DurableObject):
            async def call(self, callback):
                self.ctx.storage.put("n", 1)
                return await callback(await self.ctx.storage.get("n"))
        """
    )
    call = bench.stub(class_name="Caller").run()
    callee = bench.host.classes["app-Callee"].actors.popitem()[1]
    bench.host.classes["app-Callee"].actors[callee.key.object_id] = callee
    assert not callee.line.is_clean
    assert await call == 1
    assert callee.line.is_clean
    assert bench.actor(class_name="Caller").line.is_clean


async def test_cancelling_the_caller_of_a_callback_does_not_cancel_the_callback(bench) -> None:
    stub = await owner(bench)
    gate = asyncio.Event()
    done = []

    async def callback() -> None:
        await gate.wait()
        done.append(1)

    call = asyncio.ensure_future(stub.call_twice(callback))
    await settle()
    call.cancel()
    gate.set()
    await settle()
    assert done
