"""Facets and what surrounds them: crashes, order of writes, tools that work on whole objects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import Mock

import pytest
from host_bench import Bench

from dohost.errors import DohostError, JsException, StorageFailure
from dohost.runtime import cuts, facet_files
from dohost.runtime.inspection import Inspector
from dohost.runtime.upkeep import Upkeep
from dohost.storage.facet_index import FacetIndex, index_path

CODE = """
from js import WebSocketPair

class Child(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    async def value(self):
        return await self.ctx.storage.get("value")

    async def call(self, path, method, *args):
        if not path:
            return await getattr(self, method)(*args)
        facet = self.ctx.facets.get(path[0], lambda: {"class": self.ctx.exports.Child})
        return await facet.call(path[1:], method, *args)

    def do(self, name, *args):
        return getattr(self.ctx.facets, name)(*args)

    async def write_and_delete(self, name):
        await self.ctx.storage.put("value", 100)
        self.ctx.facets.delete(name)
        await self.ctx.storage.put("other", 1)
        return await self.call([name], "value")

    async def delete_in_transaction(self, name):
        async def callback(txn):
            await txn.put("value", 7)
            self.ctx.facets.delete(name)
            return await self.call([name], "value")
        return await self.ctx.storage.transaction(callback)

    def end(self):
        self.ctx.abort("ended")

    async def accept_socket(self):
        client, self.server = WebSocketPair()
        self.ctx.acceptWebSocket(self.server)
        Child.clients = [client]

    async def look_for_sockets(self):
        return len(self.ctx.getWebSockets())

    async def fill(self, count):
        for number in range(count):
            await self.call([f"f{number}"], "increment")

class Root(Child):  # (DurableObject)
    pass
"""


@pytest.fixture
async def root(bench: Bench):
    await bench.run(CODE)
    return bench.stub("r", class_name="Root")


def file_of(bench: Bench) -> Path:
    root = bench.stub("r", class_name="Root")
    return bench.root / f"data/v3/do/app-Root/{root.id.toString()}.sqlite"


async def again(bench: Bench):
    """Restart; return a stub."""
    await bench.restart(CODE)
    return bench.stub("r", class_name="Root")


async def test_a_facet_that_only_reads_leaves_nothing(root, bench: Bench) -> None:
    assert await root.call(["a", "b"], "value") is None
    assert not file_of(bench).parent.exists()


async def test_a_facets_first_write_gives_its_object_a_file_and_a_name(root, bench: Bench) -> None:
    await root.call(["a", "b"], "increment")
    path = file_of(bench)
    assert path.exists()
    index = FacetIndex(path)
    assert index.number(index.number(0, "a") or 0, "b") == 2
    known = await bench.host.parts.catalog.all_objects()
    assert {key.object_id.partition(".")[2] for key in known} == {"", "2"}
    assert [key.name for key in await bench.host.parts.catalog.objects("app-Root")] == ["r"]


async def test_a_file_without_an_entry_is_never_taken_for_a_new_facet(root, bench: Bench) -> None:
    await root.call(["a"], "increment")
    await root.call(["b"], "increment")
    path = file_of(bench)
    content = index_path(path).read_bytes()
    await bench.host.drain(grace_s=1)
    index_path(path).write_bytes(content[:-5])  # as if the entry of b had not been synced
    bench.host = bench._new_host()
    await bench.run(CODE)
    root = bench.stub("r", class_name="Root")
    assert await root.call(["other"], "value") is None
    assert await root.call(["a"], "value") == 1


async def test_an_index_that_cannot_be_saved_keeps_the_write_from_counting(
    root, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: FacetIndex) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FacetIndex, "save", fails)
    with pytest.raises(DohostError):
        await root.call(["a"], "increment")
    monkeypatch.undo()
    root = bench.stub("r", class_name="Root")
    await root.call(["a"], "increment")
    assert FacetIndex(file_of(bench)).number(0, "a") == 1
    root = await again(bench)
    assert await root.call(["a"], "value") >= 1


async def test_nothing_leaves_before_a_deletion_is_durable(
    root, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await root.call(["a"], "increment")
    held, started = asyncio.Event(), asyncio.Event()
    in_thread = facet_files.FacetFiles._in_thread

    async def waits(self, work):
        started.set()
        await held.wait()
        await in_thread(self, work)

    monkeypatch.setattr(facet_files.FacetFiles, "_in_thread", waits)
    reply = root.do("delete", "a")
    await started.wait()
    other = root.value()
    await asyncio.sleep(0)
    assert not reply.done()
    assert not other.done()
    held.set()
    await reply
    await other


async def test_writes_before_and_after_a_deletion_stay_in_order(root, bench: Bench) -> None:
    await root.call(["a"], "increment")
    assert await root.write_and_delete("a") is None
    root = await again(bench)
    assert (await root.value(), await root.call(["a"], "value")) == (100, None)


async def test_a_deletion_inside_a_transaction_waits_for_nothing_that_waits_for_it(root) -> None:
    await root.call(["a"], "increment")
    assert await root.delete_in_transaction("a") is None
    assert await root.value() == 7


async def test_a_deletion_that_fails_resets_the_object_and_is_of_unknown_outcome(
    root, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await root.call(["a"], "increment")

    def fails(path: Path) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(facet_files, "remove_files", fails)
    with pytest.raises((StorageFailure, JsException), match="could not be changed"):
        await root.do("delete", "a")
    monkeypatch.undo()
    root = bench.stub("r", class_name="Root")
    assert await root.call(["a"], "value") == 1


async def test_a_new_instance_waits_for_work_on_its_facets_files(
    root, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await root.call(["a"], "increment")
    held = asyncio.Event()
    in_thread = facet_files.FacetFiles._in_thread

    async def waits(self, work):
        await held.wait()
        await in_thread(self, work)

    monkeypatch.setattr(facet_files.FacetFiles, "_in_thread", waits)
    reply = root.do("delete", "a")
    ended = root.end()
    root = bench.stub("r", class_name="Root")
    value = root.call(["a"], "value")
    await asyncio.sleep(0)
    assert not value.done()
    assert not ended.done(), "the error, too, leaves after what was done before it"
    held.set()
    assert await value is None
    await reply
    with pytest.raises(JsException, match="ended"):
        await ended


async def test_tools_take_an_object_with_its_facets(root, bench: Bench, tmp_path: Path) -> None:
    await root.increment()
    await root.call(["a"], "increment")
    await root.call(["a", "deep"], "increment")
    upkeep, host = Upkeep(bench.host), bench.host
    worker = next(iter(host.generations.values())).config
    inspector = Inspector(host.options.persist, [worker])
    (info,) = inspector.objects()
    assert (info.name, info.facets, info.problem) == ("r", 2, None)
    key, other = inspector.key("Root", "r"), inspector.key("Root", "other")
    copied = await upkeep.export(key, tmp_path / "saved.sqlite")
    names = {path.name for path in tmp_path.glob("saved*")}
    assert names == {"saved.sqlite", "saved.1.sqlite", "saved.2.sqlite", "saved.facets"}
    assert copied.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("saved*.sqlite"))
    await root.call(["a"], "increment")
    await root.call(["b"], "increment")
    for target in (key, other):
        await upkeep.import_file(target, Path(copied.file), replaces=True)
        stub = bench.stub(target.name or "", class_name="Root")
        assert await stub.value() == 1
        assert await stub.call(["a"], "value") == 1
        assert await stub.call(["a", "deep"], "value") == 1
        assert await stub.call(["b"], "value") is None
    await upkeep.remove(other)
    assert not [*file_of(bench).parent.glob(f"{other.object_id}*")]
    known = await host.parts.catalog.all_objects()
    assert {each.object_id.partition(".")[0] for each in known} == {key.object_id}
    fresh = bench.stub("other", class_name="Root")
    assert await fresh.call(["a"], "value") is None
    await fresh.call(["a"], "increment")
    await bench.restart(CODE)
    assert await bench.stub("other", class_name="Root").call(["a"], "value") == 1


async def test_a_backup_has_facets_as_they_were_at_its_moment(
    root, bench: Bench, tmp_path: Path
) -> None:
    await root.call(["a"], "increment")
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Root"])
    await root.call(["a"], "increment")
    await root.call(["new"], "increment")
    (item,) = backup.items
    await upkeep.copy_backup(backup.number, item, tmp_path / "saved.sqlite")
    upkeep.end_backup(backup.number)
    other = Inspector(bench.host.options.persist, []).key("app-Root", "other")
    await upkeep.import_file(other, tmp_path / "saved.sqlite", replaces=False)
    stub = bench.stub("other", class_name="Root")
    assert await stub.call(["a"], "value") == 1
    assert await stub.call(["new"], "value") is None


@pytest.mark.parametrize("can_link", [True, False])
async def test_a_backup_has_facets_that_were_deleted_or_copied_over_since(
    root, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    if not can_link:
        monkeypatch.setattr(cuts.os, "link", Mock(side_effect=OSError("no links here")))
    for path in (["a"], ["a", "deep"], ["b"], ["c"]):
        await root.call(path, "increment")
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Root"])
    await root.call(["c"], "increment")
    for name in ("a", "b"):
        await root.do("delete", name)
    await root.call(["b"], "value")
    for _ in range(7):
        await root.call(["b"], "increment")
    await root.do("clone", "b", "c")
    await root.do("clone", "b", "new")
    assert [await root.call([name], "value") for name in ("a", "b", "c", "new")] == [None, 7, 7, 7]
    (item,) = backup.items
    await upkeep.copy_backup(backup.number, item, tmp_path / "saved.sqlite")
    upkeep.end_backup(backup.number)
    assert not [*bench.root.glob("data/cuts/*")]
    other = Inspector(bench.host.options.persist, []).key("app-Root", "other")
    await upkeep.import_file(other, tmp_path / "saved.sqlite", replaces=False)
    stub = bench.stub("other", class_name="Root")
    assert [await stub.call([name], "value") for name in ("a", "b", "c")] == [1, 1, 1]
    assert await stub.call(["a", "deep"], "value") == 1
    assert await stub.call(["new"], "value") is None


async def test_an_import_without_an_index_beside_it_has_no_facets(
    root, bench: Bench, tmp_path: Path
) -> None:
    await root.call(["a"], "increment")
    upkeep = Upkeep(bench.host)
    key = Inspector(bench.host.options.persist, []).key("app-Root", "r")
    await upkeep.export(key, tmp_path / "saved.sqlite")
    (tmp_path / "saved.facets").unlink()
    await upkeep.import_file(key, tmp_path / "saved.sqlite", replaces=True)
    assert await bench.stub("r", class_name="Root").call(["a"], "value") is None


async def test_a_catalog_that_is_made_anew_knows_facets_and_their_objects_apart(
    root, bench: Bench
) -> None:
    await root.call(["a"], "increment")
    rebuilt = await Upkeep(bench.host).rebuild_catalog()
    assert (rebuilt.objects, rebuilt.forgotten) == (2, ())
    assert await Upkeep(bench.host).missing() == []
    for suffix in (".1.sqlite", ".1.sqlite-wal"):
        file_of(bench).with_suffix(suffix).unlink()
    (missing,) = await Upkeep(bench.host).missing()
    assert ".1.sqlite is missing" in missing


async def test_a_damaged_index_is_said_and_other_objects_go_on(root, bench: Bench) -> None:
    await root.call(["a"], "increment")
    await bench.host.drain(grace_s=1)
    index_path(file_of(bench)).write_bytes(b"nonsense")
    bench.host = bench._new_host()
    await bench.run(CODE)
    with pytest.raises(JsException, match=r"\.facets is no index"):
        await bench.stub("r", class_name="Root").call(["a"], "value")
    other = bench.stub("other", class_name="Root")
    assert await other.call(["a"], "increment") == 1
    worker = next(iter(bench.host.generations.values())).config
    (info,) = [
        each
        for each in Inspector(bench.host.options.persist, [worker]).objects()
        if each.name == "r"
    ]
    assert info.problem is not None
    assert ".facets is no index" in info.problem


def live_facets(bench: Bench) -> int:
    return sum(1 for _ in bench.actor("r", class_name="Root").family()) - 1


async def test_idle_facets_make_room_while_their_parent_goes_on(root, bench: Bench) -> None:
    evictor = bench.host._evictor
    evictor._open_max = 10
    await root.call([], "value")
    release = bench.actor("r", class_name="Root").hold()
    await root.fill(60)
    await asyncio.sleep(0)
    assert 0 < live_facets(bench) <= 10
    assert evictor.facets == live_facets(bench)
    await root.fill(60)
    assert await root.call(["f0"], "value") == 2
    await asyncio.sleep(0)
    assert live_facets(bench) <= 10
    release()
    assert bench.actor("r", class_name="Root").evict_if_idle()
    assert evictor.facets == 0


async def test_a_facet_with_sockets_stays_and_one_that_had_none_goes(root, bench: Bench) -> None:
    await root.call(["a"], "accept_socket")
    await root.call(["b"], "look_for_sockets")
    actor = bench.actor("r", class_name="Root")
    assert not actor.evict_if_idle()
    bench.host._evictor.make_room()
    assert live_facets(bench) == 1
    assert await root.call(["a"], "look_for_sockets") == 1
    await root.do("abort", "a", "over")
    assert actor.evict_if_idle()


async def test_a_facet_that_only_looked_for_sockets_does_not_keep_its_object(
    root, bench: Bench
) -> None:
    assert await root.call(["a"], "look_for_sockets") == 0
    assert bench.actor("r", class_name="Root").evict_if_idle()


async def test_sockets_of_facets_are_closed_with_a_reason_when_code_changes(
    root, bench: Bench
) -> None:
    await root.call(["a", "deep"], "accept_socket")
    *_, facet = bench.actor("r", class_name="Root").family()
    (client,) = type(facet.instance).clients
    closed: list[object] = []
    client.addEventListener("close", closed.append)
    client.accept()
    await bench.run(CODE.replace("ended", "over"))
    await asyncio.sleep(0.1)
    (event,) = closed
    assert event.code == 1012
