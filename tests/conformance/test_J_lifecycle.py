"""Rows J9 to J11, J13 and J14: ending, reaching into and replacing what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohost.errors import JsException
from dohost.runtime.host import LoadFailed
from dohost.testing import IsolatedHost, isolated_host
from dohost.testing.settings import read_program

with_counter = pytest.mark.dohost(main="programs/resets.py")

VERSION = """
from workers import DurableObject

class Versioned(DurableObject):
    async def version(self):
        return VERSION

    async def remember(self, value):
        await self.ctx.storage.put("value", value)

    async def recall(self):
        return await self.ctx.storage.get("value")

    async def arm(self, due):
        await self.ctx.storage.setAlarm(due)

    async def alarm(self):
        await self.ctx.storage.put("value", f"alarm of version {VERSION}")
"""


def counter(dohost: IsolatedHost, name: str = "a"):
    return dohost.env.COUNTER.getByName(name)


@with_counter
async def test_J9_eviction_loses_memory_and_reloads_what_was_stored(dohost: IsolatedHost) -> None:
    with pytest.raises(JsException, match=r"it is not currently running\."):
        await dohost.evict(counter(dohost))
    for evict in (dohost.evict, lambda stub: dohost.evict_all()):
        stub = counter(dohost)
        await stub.increment()

        def spoil(instance: object, state: object) -> None:
            instance.memory = 999

        await dohost.run_in_object(stub, spoil)
        await evict(stub)
        assert await stub.remember() == 1
    assert await counter(dohost).increment() == 3


@with_counter
async def test_J10_code_runs_inside_and_alarms_on_demand(dohost: IsolatedHost) -> None:
    stub = counter(dohost)
    name = await dohost.run_in_object(stub, lambda instance, state: state.id.name)
    assert name == "a"
    assert await dohost.run_alarm(stub) is False
    await stub.arm(dohost.now_ms + 1_000_000)
    assert await dohost.run_alarm(stub) is True
    assert await stub.fired() is True
    assert await dohost.run_alarm(stub) is False


@with_counter
async def test_J11_storage_is_seeded_before_the_program_looks(dohost: IsolatedHost) -> None:
    by_name = counter(dohost)
    namespace = dohost.env.COUNTER
    by_id = namespace.get(namespace.idFromString(str(by_name.id)))
    await dohost.storage(by_name).exec("CREATE TABLE rows (x)")
    await dohost.storage(by_id).exec("INSERT INTO rows VALUES (1), (2)")
    assert await dohost.storage(by_name).exec("SELECT sum(x) AS total FROM rows") == [{"total": 3}]
    await dohost.storage(by_id).put("count", 41)
    assert await by_name.increment() == 42
    assert await dohost.storage(by_id).get("count") == 42


async def test_J13_a_reload_serves_new_code_on_old_data_and_alarms_still_fire(
    tmp_path: Path,
) -> None:
    main = tmp_path / "entry.py"
    main.write_text(VERSION.replace("VERSION", "1"))
    program = read_program(tmp_path, {"main": "entry.py"})
    async with isolated_host(program, tmp_path / "data") as host:
        stub = host.env.VERSIONED.getByName("a")
        assert await stub.version() == 1
        await stub.remember("old data")
        await stub.arm(host.now_ms + 5000)
        main.write_text(VERSION.replace("VERSION", "2"))
        await host.reload()
        stub = host.env.VERSIONED.getByName("a")
        assert (await stub.version(), await stub.recall()) == (2, "old data")
        main.write_text("class (:")
        with pytest.raises(LoadFailed):
            await host.reload()
        await host.advance(5)
        assert await stub.recall() == "alarm of version 2"


async def test_J14_a_bound_class_that_is_not_exported_is_named_at_the_start(
    tmp_path: Path,
) -> None:
    (tmp_path / "entry.py").write_text(VERSION.replace("VERSION", "1"))
    program = read_program(tmp_path, {"main": "entry.py", "bindings": {"ROOM": "Room"}})
    with pytest.raises(LoadFailed) as raised:
        async with isolated_host(program, tmp_path / "data"):
            pass
    assert str(raised.value) == (
        "Your Worker depends on the following Durable Objects, which are not exported in your "
        "entrypoint file: Room. You should export these objects from your entrypoint, entry.py."
    )
