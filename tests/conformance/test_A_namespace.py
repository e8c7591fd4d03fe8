"""Section 12.A: namespaces and stubs; ids by themselves are tests/objects/test_id.py."""

from __future__ import annotations

import asyncio

import pytest

from dohost.errors import JsException, JsRangeError
from dohost.objects.id import DurableObjectId

OBJECTS = """
made = []

class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        made.append(str(ctx.id))
        self.count = 0

    def increment(self, by=1):
        self.count += by
        return self.count

    def made(self):
        return len(made)

    def own_name(self):
        return self.ctx.id.name

    def own_id(self):
        return [self.ctx.id.toString(), type(self.ctx.id).__name__]

class Other(DurableObject):
    count = 0

    def increment(self, by=1):
        self.count += by
        return self.count
"""


async def test_A8_a_stub_has_exactly_id_and_name_of_its_own(bench) -> None:
    await bench.run(OBJECTS)
    object_id = bench.namespace().idFromName("foo")
    stub = bench.namespace().get(object_id)
    assert set(vars(stub)) == {"id", "name"}
    assert stub.id is object_id
    assert stub.name == "foo"
    assert stub.id.jurisdiction is None


async def test_A9_get_and_get_by_name_give_equal_stubs(bench) -> None:
    await bench.run(OBJECTS)
    space = bench.namespace()
    object_id = space.idFromName("foo")
    stubs = [
        space.get(object_id),
        space.get(object_id, {"locationHint": "wnam"}),
        space.get(object_id, locationHint="wnam"),
        space.getByName("foo"),
        space.getByName("foo", {"locationHint": "wnam"}),
    ]
    assert all(stub == stubs[0] for stub in stubs)
    assert [await stub.increment() for stub in stubs] == [1, 2, 3, 4, 5]


async def test_A10_no_jurisdiction_is_fine_and_any_other_is_not_implemented(bench) -> None:
    await bench.run(OBJECTS)
    space = bench.namespace()
    assert await space.jurisdiction(None).getByName("a").increment() == 1
    assert await space.get(space.newUniqueId({"jurisdiction": None})).increment() == 1
    for refused in (
        lambda: space.jurisdiction("eu"),
        lambda: space.newUniqueId({"jurisdiction": "eu"}),
        lambda: space.newUniqueId(jurisdiction="eu"),
    ):
        with pytest.raises(JsException) as raised:
            refused()
        assert (
            str(raised.value) == "Error: Jurisdiction restrictions are not implemented in workerd."
        )


async def test_A11_an_assigned_attribute_shadows_the_method(bench) -> None:
    await bench.run(OBJECTS)
    stub = bench.stub()
    stub.increment = lambda: "local"
    assert stub.increment() == "local"
    assert set(vars(stub)) == {"id", "name", "increment"}
    assert await bench.stub().increment() == 1


async def test_A12_an_object_knows_the_name_that_it_was_reached_by(bench) -> None:
    await bench.run(OBJECTS)
    space = bench.namespace()
    assert await space.getByName("retained-name-123").own_name() == "retained-name-123"
    assert await space.get(space.newUniqueId()).own_name() is None
    assert await space.getByName("n" * 1024).own_name() == "n" * 1024
    assert await space.getByName("n" * 1025).own_name() is None


async def test_A13_the_id_inside_is_the_stubs(bench) -> None:
    await bench.run(OBJECTS)
    stub = bench.stub()
    text, kind = await stub.own_id()
    assert (text, kind) == (stub.id.toString(), type(stub.id).__name__)
    assert len(text) == 64


async def test_A14_a_stub_makes_nothing_and_two_first_calls_make_one_instance(bench) -> None:
    await bench.run(OBJECTS)
    stub = bench.stub()
    assert bench.actor() is None
    assert await asyncio.gather(stub.made(), stub.made()) == [1, 1]


async def test_A15_an_unknown_routing_mode_is_a_range_error(bench) -> None:
    await bench.run(OBJECTS)
    space = bench.namespace()
    object_id = space.idFromName("a")
    with pytest.raises(JsRangeError) as raised:
        space.get(object_id, {"routingMode": "x"})
    assert str(raised.value) == "RangeError: unknown routingMode: x"
    assert await space.get(object_id, {"routingMode": "primary-only"}).increment() == 1


async def test_A16_a_class_without_a_binding_is_reached_through_exports(bench) -> None:
    config = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                stub = self.ctx.exports.Unbound.getByName("a")
                return Response(str(await stub.increment()))

        class Unbound(DurableObject):
            async def increment(self):
                n = (await self.ctx.storage.get("n") or 0) + 1
                await self.ctx.storage.put("n", n)
                return n
        """
    )
    unbound = type(config)(
        name=config.name,
        main=config.main,
        config_path=config.config_path,
        classes={"Unbound": "sqlite"},
    )
    await bench.run(unbound)
    assert [await (await bench.get()).text() for _ in range(2)] == ["1", "2"]
    await bench.restart(unbound)
    assert await (await bench.get()).text() == "3"


async def test_A17_one_name_in_two_classes_is_two_objects(bench) -> None:
    await bench.run(OBJECTS)
    assert [await bench.stub("same").increment() for _ in range(2)] == [1, 2]
    assert await bench.stub("same", class_name="Other").increment() == 1
    first, second = (bench.namespace(name).idFromName("same") for name in ("Counter", "Other"))
    assert isinstance(first, DurableObjectId)
    assert not first.equals(second)
