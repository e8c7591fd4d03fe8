"""A backup is of one moment, whatever is done to whole objects before their turn to be copied comes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.errors import CallerError
from dohost.runtime import cuts
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.inspection import Inspector
from dohost.runtime.upkeep import Upkeep
from dohost.storage.copies import Copied, copy_out
from dohost.storage.timeline import LogState

CODE = """
class Child(DurableObject):
    async def add(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    async def value(self):
        return await self.ctx.storage.get("value")

class Root(Child):  # (DurableObject)
    async def in_facet(self, name, method):
        facet = self.ctx.facets.get(name, lambda: {"class": self.ctx.exports.Child})
        return await getattr(facet, method)()
"""
Work = Callable[[Bench, Path], Awaitable[None]]


def key(bench: Bench, name: str) -> ObjectKey:
    return Inspector(bench.host.options.persist, []).key("app-Root", name)


def root(bench: Bench, name: str = "r"):
    return bench.stub(name, class_name="Root")


async def remove(bench: Bench, source: Path) -> None:
    await Upkeep(bench.host).remove(key(bench, "r"))


async def remove_and_begin_anew(bench: Bench, source: Path) -> None:
    await remove(bench, source)
    for _ in range(5):
        await root(bench).add()
        await root(bench).in_facet("b", "add")


async def import_over(bench: Bench, source: Path) -> None:
    await Upkeep(bench.host).import_file(key(bench, "r"), source, replaces=True)


@pytest.fixture
async def source(bench: Bench, tmp_path: Path) -> Path:
    """An export of an object with greater numbers and other facets; an object "r" is there."""
    await bench.run(CODE)
    for _ in range(9):
        await root(bench, "other").add()
        await root(bench, "other").in_facet("b", "add")
    copied = await Upkeep(bench.host).export(key(bench, "other"), tmp_path / "source.sqlite")
    await Upkeep(bench.host).remove(key(bench, "other"))
    await root(bench).add()
    await root(bench).in_facet("a", "add")
    return Path(copied.file)


@pytest.mark.parametrize("work", [remove, remove_and_begin_anew, import_over])
@pytest.mark.parametrize("is_live", [True, False])
async def test_a_backup_has_an_object_that_was_removed_or_replaced_since(
    bench: Bench, source: Path, tmp_path: Path, work: Work, is_live: bool
) -> None:
    if not is_live:
        await bench.restart(CODE)
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Root"])
    await work(bench, source)
    (item,) = backup.items
    assert await upkeep.copy_backup(backup.number, item, tmp_path / "saved.sqlite") is not None
    upkeep.end_backup(backup.number)
    assert not [*bench.root.glob("data/cuts/*")]
    await upkeep.import_file(key(bench, "restored"), tmp_path / "saved.sqlite", replaces=False)
    restored = root(bench, "restored")
    assert await restored.value() == 1
    assert [await restored.in_facet(name, "value") for name in "ab"] == [1, None]


async def test_an_object_that_was_imported_since_is_in_no_backup_of_before(
    bench: Bench, source: Path, tmp_path: Path
) -> None:
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Root"])
    new = key(bench, "new")
    await upkeep.import_file(new, source, replaces=False)
    (item,) = backup.items
    later = type(item)(unique_key=new.unique_key, object_id=new.object_id)
    assert await upkeep.copy_backup(backup.number, later, tmp_path / "saved.sqlite") is None
    upkeep.end_backup(backup.number)


async def test_an_object_is_not_removed_under_a_copy_of_it(
    bench: Bench, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, goes_on = threading.Event(), threading.Event()

    def slow(path: Path, log: LogState, target: Path) -> Copied:
        copying.set()
        assert goes_on.wait(10)
        return copy_out(path, log, target)

    monkeypatch.setattr(cuts, "copy_out", slow)
    upkeep = Upkeep(bench.host)
    export = asyncio.create_task(upkeep.export(key(bench, "r"), tmp_path / "saved.sqlite"))
    await asyncio.to_thread(copying.wait, 10)
    removal = asyncio.create_task(upkeep.remove(key(bench, "r")))
    await asyncio.sleep(0.05)
    goes_on.set()
    assert (await export).size_bytes > 0
    await removal
    with pytest.raises(CallerError, match="stored nothing"):
        await upkeep.export(key(bench, "r"), tmp_path / "again.sqlite")


async def test_a_backup_may_end_while_an_object_is_kept_for_it(
    bench: Bench, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping, goes_on, link = threading.Event(), threading.Event(), os.link

    def slow(source: str, target: str) -> None:
        keeping.set()
        assert goes_on.wait(10)
        link(source, target)

    monkeypatch.setattr(cuts.os, "link", slow)
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Root"])
    # Something is kept for it already, so its end has something to remove.
    bench.host.parts.cuts._open[backup.number].kept["app-Root", "another"] = tmp_path
    removal = asyncio.create_task(upkeep.remove(key(bench, "r")))
    await asyncio.to_thread(keeping.wait, 10)
    upkeep.end_backup(backup.number)
    goes_on.set()
    await removal
    assert not list((bench.root / "data" / "cuts").glob("*"))
