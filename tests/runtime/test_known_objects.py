"""A damaged or missing file is its object's problem and nobody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from host_bench import Bench

from dohost.errors import JsException
from dohost.runtime.host import Host
from dohost.runtime.known_objects import LOGGED_MAX, MissingFiles

COUNTER = """
class Counter(DurableObject):
    async def add(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def wake(self, time):
        await self.ctx.storage.setAlarm(time)

    async def alarm(self):
        await self.add()
"""


def file_of(bench: Bench, name: str = "a") -> Path:
    return bench.host.classes["app-Counter"].file_of(bench.namespace().idFromName(name).toString())


async def fire(bench: Bench) -> None:
    alarms = bench.host.parts.alarms
    alarms.poll()
    await asyncio.wait(tuple(alarms._running.values()))


def warnings(bench: Bench) -> list[object]:
    return [event.fields for event in bench.events if event.name == "object.file_missing"]


@pytest.mark.parametrize("content", [b"", b"x", b"junk" * 5000])
async def test_others_go_on_beside_a_damaged_object(bench: Bench, content: bytes) -> None:
    await bench.run(COUNTER)
    for name in ("a", "b"):
        await bench.stub(name).add()
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    path.write_bytes(content)
    await bench.restart(COUNTER)
    for _ in range(2):
        with pytest.raises(JsException, match=path.name) as caught:
            await bench.stub("a").add()
        assert (caught.value.code, caught.value.status) == ("object-quarantined", 500)
        assert not caught.value.remote
        assert await bench.stub("b").add() > 1
    assert path.read_bytes() == content


async def test_the_alarm_of_a_damaged_object_waits(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    path = file_of(bench)
    good = path.read_bytes()
    await bench.host.drain(grace_s=1)
    path.write_bytes(b"")
    await bench.restart(COUNTER)
    bench.clock.advance(2)
    alarms = bench.host.parts.alarms
    await fire(bench)
    assert alarms.due_ms(("app-Counter", path.stem)) is not None
    path.write_bytes(good)
    bench.clock.advance(60)
    await fire(bench)
    assert await bench.stub().add() == 2


async def test_a_missing_file_is_said_once_and_the_object_begins_empty(bench: Bench) -> None:
    await bench.run(COUNTER)
    for name in ("a", "b"):
        await bench.stub(name).add()
    await bench.stub().wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    for each in path.parent.glob(f"{path.stem}*"):
        each.unlink()
    await bench.restart(COUNTER)
    assert warnings(bench) == [{"object": "app-Counter/a", "then": "start-empty"}]
    assert await bench.stub("b").add() == 2
    await bench.restart(COUNTER)
    assert len(warnings(bench)) == 1
    assert await bench.stub("a").add() == 1


async def test_in_production_a_missing_file_is_quarantined(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub("a").add()
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    for each in path.parent.glob(f"{path.stem}*"):
        each.unlink()
    for _ in range(2):
        options = msgspec.structs.replace(bench.host.options, missing_files=MissingFiles.quarantine)
        bench.host = Host(options)
        await bench.run(COUNTER)
        with pytest.raises(JsException, match="is missing; the object is known"):
            await bench.stub("a").add()
        assert await bench.stub("new").add() >= 1
        await bench.host.drain(grace_s=1)
    assert not path.exists()


async def test_many_missing_files_are_counted(bench: Bench) -> None:
    await bench.run(COUNTER)
    for number in range(LOGGED_MAX + 3):
        await bench.stub(str(number)).add()
    directory = file_of(bench).parent
    await bench.host.drain(grace_s=1)
    for each in directory.iterdir():
        each.unlink()
    await bench.restart(COUNTER)
    assert len(warnings(bench)) == LOGGED_MAX + 1
    assert warnings(bench)[-1] == {"more": 3}
