"""The figures of a host are those of what it did, and none names an object."""

from __future__ import annotations

import asyncio
import contextlib
import errno

import pytest
from host_bench import Bench

from dohost.errors import JsException, Overloaded, StorageFailure
from dohost.runtime import figures
from dohost.runtime.actor import CODE_UPDATED
from dohost.runtime.alarms import AlarmEnd
from dohost.runtime.class_counts import ClassCounts, cause_of
from dohost.runtime.figures import ClassFigures, HostFigures, read_figures
from dohost.runtime.host import LoadFailed
from dohost.storage.commit import TOO_LONG
from dohost.storage.failures import CPU_EXCEEDED

CODE = """
from js import WebSocketPair

class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    async def look(self):
        return 1

    async def in_facet(self):
        facet = self.ctx.facets.get("f", lambda: {"class": self.ctx.exports.Counter})
        return await facet.increment()

    async def end(self):
        self.ctx.abort("a text of the program's own")

    async def accept(self):
        client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server)
        Counter.clients = [*getattr(Counter, "clients", []), client]

    async def wake_up(self):
        await self.ctx.storage.setAlarm(self.env.NOW())

    async def alarm(self, info):
        if self.ctx.id.name == "bad":
            raise ValueError("never works")

class Other(DurableObject):
    pass
"""


async def read(bench: Bench) -> HostFigures:
    return await read_figures(bench.host)


async def counter(bench: Bench) -> ClassFigures:
    return (await read(bench)).classes[0]


async def test_a_host_that_did_nothing_shows_its_classes_at_nothing(bench: Bench) -> None:
    await bench.run(CODE)
    found = await read(bench)
    assert [(each.worker, each.class_name) for each in found.classes] == [
        ("app", "Counter"),
        ("app", "Other"),
    ]
    assert found.classes[1] == ClassFigures(
        worker="app",
        class_name="Other",
        known=0,
        live=0,
        calls=0,
        evictions=0,
        resets={},
        sockets_awake=0,
        sockets_asleep=0,
    )
    assert (found.commits, found.sync_times.total, found.alarms, found.loads) == (0, 0, 0, 1)


async def test_objects_are_known_when_they_have_stored_something_and_live_in_memory(
    bench: Bench,
) -> None:
    await bench.run(CODE)
    for name in ("a", "b", "a"):
        await bench.stub(name).increment()
    await bench.stub("c").look()
    found = await counter(bench)
    assert (found.known, found.live, found.calls) == (2, 3, 4)
    assert bench.host.parts.evictor.sweep(idle_since_s=bench.clock.monotonic()) == 3
    found = await counter(bench)
    assert (found.known, found.live, found.evictions) == (2, 0, 3)


async def test_commits_are_counted_once_however_many_calls_share_them(bench: Bench) -> None:
    await bench.run(CODE)
    await asyncio.gather(*(bench.stub().increment() for _ in range(10)))
    found = await read(bench)
    assert (found.classes[0].calls, found.commits, found.sync_times.total) == (10, 1, 1)
    assert found.log_bytes == bench.actor().database.wal_pages * 4120 > 0


async def test_facets_count_with_the_class_of_their_object(bench: Bench) -> None:
    await bench.run(CODE)
    await bench.stub().in_facet()
    found = await read(bench)
    assert found.facets_live == 1
    assert (found.classes[0].known, found.classes[0].live, found.classes[0].calls) == (1, 1, 2)
    bench.host.parts.evictor.sweep(idle_since_s=bench.clock.monotonic())
    found = await read(bench)
    assert (found.facets_live, found.classes[0].evictions) == (0, 2)


async def test_resets_are_counted_by_cause(bench: Bench) -> None:
    await bench.run(CODE)
    with contextlib.suppress(JsException):
        await bench.stub().end()
    await bench.stub("b").increment()

    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    bench.actor("b").database.sync = fail
    with contextlib.suppress(JsException):
        await bench.stub("b").increment()
    found = await read(bench)
    assert found.classes[0].resets == {"program": 1, "outcome-unknown": 1}
    assert found.syncs_failed == 1


def test_causes_are_few_whatever_a_program_raises() -> None:
    tricky = JsException("no")
    tricky.code = "a code of its own"
    assert [
        cause_of(error)
        for error in (
            JsException(CODE_UPDATED),
            JsException(CPU_EXCEEDED),
            JsException(TOO_LONG),
            StorageFailure("", outcome="not-applied", is_full=True),
            Overloaded("somebody works on its files"),
            JsException("abort() says what it likes"),
            tricky,
            ValueError("in a constructor"),
        )
    ] == [
        "code-updated",
        "cpu-limit",
        "disk-timeout",
        "storage-full",
        "overloaded",
        "program",
        "program",
        "program",
    ]
    counts = ClassCounts()
    counts.count_reset(tricky)
    counts.count_reset(JsException("another text"))
    assert counts.resets == {"program": 2}


async def test_sockets_are_awake_or_asleep_with_their_object(bench: Bench) -> None:
    await bench.run(CODE)
    for name in ("a", "a", "b"):
        await bench.stub(name).accept()
    found = await counter(bench)
    assert (found.sockets_awake, found.sockets_asleep) == (3, 0)
    bench.host.parts.evictor.sweep(idle_since_s=bench.clock.monotonic())
    await bench.stub("b").look()
    found = await counter(bench)
    assert (found.live, found.sockets_awake, found.sockets_asleep) == (1, 1, 2)


async def test_alarms_are_counted_by_how_they_ended(bench: Bench) -> None:
    await bench.run(CODE)
    bench.host.generations["app"].env.NOW = lambda: bench.clock.realtime_ns() // 1_000_000
    for name in ("good", "bad"):
        await bench.stub(name).wake_up()
    alarms = bench.host.parts.alarms
    async with asyncio.timeout(5):
        while alarms.known > 1 or alarms.running:
            await asyncio.sleep(0)
    found = await read(bench)
    assert found.alarm_ends == {AlarmEnd.done: 1, AlarmEnd.failed: 1}
    assert (found.alarms, found.alarms_running, found.alarm_retries) == (1, 0, 1)


async def test_loads_are_counted_and_those_that_failed_apart(bench: Bench) -> None:
    await bench.run(CODE)
    with pytest.raises(LoadFailed):
        await bench.run("missing")
    await bench.run(CODE)
    found = await read(bench)
    assert (found.loads, found.loads_failed) == (2, 1)


async def test_a_catalog_that_does_not_answer_hides_no_other_figure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(CODE)
    await bench.stub().increment()
    monkeypatch.setattr(figures, "_CATALOG_MAX_S", 0)
    found = await counter(bench)
    assert (found.known, found.live) == (None, 1)
    monkeypatch.undo()
    bench.host.parts.catalog._path = bench.root / "data"
    found = await counter(bench)
    assert (found.known, found.live) == (None, 1)
