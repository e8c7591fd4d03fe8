"""What outlives an instance, a reload and a process, and where it is."""

from __future__ import annotations

import shutil

from host_bench import Bench

from dohost.clock import SeededEntropy
from dohost.config import DurableObjectBinding
from dohost.objects.id import IdFactory

COUNTER = """
class Counter(DurableObject):
    async def add(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

class Other(DurableObject):
    async def read(self):
        return await self.ctx.storage.get("count")

    async def through(self, name):
        return await self.env.COUNTER.getByName(name).add()
"""


async def test_J1_a_counter_outlives_reloads_and_processes(bench: Bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub().add() == 1
    await bench.run(COUNTER)
    assert await bench.stub().add() == 2
    await bench.restart(COUNTER)
    assert await bench.stub().add() == 3
    await bench.host.drain(grace_s=1)
    shutil.rmtree(bench.root / "data")
    await bench.restart(COUNTER)
    assert await bench.stub().add() == 1


async def test_J2_each_class_of_each_worker_has_a_directory(bench: Bench) -> None:
    await bench.run(bench.config(COUNTER, name="a"), bench.config(COUNTER, name="b"))
    for worker in ("a", "b"):
        assert await bench.namespace(worker=worker).getByName("x").add() == 1
    assert sorted(each.name for each in (bench.root / "data/v3/do").iterdir()) == [
        "a-Counter",
        "b-Counter",
    ]


async def test_J3_another_directory_is_another_world(bench: Bench) -> None:
    await bench.run(COUNTER)
    assert await bench.stub().add() == 1
    await bench.host.drain(grace_s=1)
    (bench.root / "data").rename(bench.root / "elsewhere")
    await bench.restart(COUNTER)
    assert await bench.stub().add() == 1


async def test_J4_objects_are_listed_once_they_have_written(bench: Bench) -> None:
    await bench.run(COUNTER)
    catalog = bench.host.parts.catalog
    assert await catalog.objects("app-Counter") == []
    assert await bench.stub(class_name="Other").read() is None
    for name in ("b", "a"):
        await bench.stub(name).add()
    found = await catalog.objects("app-Counter")
    assert [each.name for each in found] == ["a", "b"]
    assert [each.object_id for each in found] == [
        bench.namespace().idFromName(name).toString() for name in ("a", "b")
    ]
    assert await catalog.objects("app-Other") == []


async def test_J5_a_binding_to_another_workers_class_shares_its_objects(bench: Bench) -> None:
    other = bench.config(COUNTER, name="other")
    binding = DurableObjectBinding(name="COUNTER", class_name="Counter", script_name="app")
    others = tuple(each for each in other.durable_objects if each.class_name == "Other")
    other = type(other)(
        name="other",
        main=other.main,
        config_path=other.config_path,
        durable_objects=(binding, *others),
        classes=other.classes,
    )
    await bench.run(bench.config(COUNTER), other)
    assert await bench.stub("x").add() == 1
    assert await bench.namespace("Other", worker="other").getByName("y").through("x") == 2


async def test_J6_an_id_means_the_same_object_in_every_process(bench: Bench) -> None:
    made = IdFactory("app-Counter", SeededEntropy(7)).unique().toString()
    await bench.run(COUNTER)
    assert await bench.namespace().get(bench.namespace().idFromString(made)).add() == 1
    await bench.restart(COUNTER)
    assert await bench.namespace().get(bench.namespace().idFromString(made)).add() == 2


async def test_J12_each_object_has_one_file_beside_its_log(bench: Bench) -> None:
    await bench.run(COUNTER)
    for name in ("a", "b"):
        await bench.stub(name).add()
    ids = [bench.namespace().idFromName(name).toString() for name in ("a", "b")]
    await bench.host.drain(grace_s=1)
    directory = bench.root / "data/v3/do/app-Counter"
    names = {each.name for each in directory.iterdir()}
    assert names >= {f"{each}.sqlite" for each in ids}
    assert {each.partition(".")[0] for each in names} == set(ids)
    assert (bench.root / "data/catalog.sqlite").is_file()
