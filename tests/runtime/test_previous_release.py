"""A data directory that version 0.1.0 wrote opens as it is: values, tables, alarm, ids and bookmarks.

`data_0_1_0.zip` was made by that version: an object whose content is in its log, and one whose log was copied.
"""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path

from host_bench import Bench

COUNTER = """
class Counter(DurableObject):
    async def content(self):
        return dict(await self.ctx.storage.list())

    async def rows(self):
        return [dict(row) for row in self.ctx.storage.sql.exec("SELECT * FROM t")]

    async def due(self):
        return await self.ctx.storage.getAlarm()

    async def add(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def bookmark(self):
        return await self.ctx.storage.getCurrentBookmark()

    async def go(self, bookmark):
        return await self.ctx.storage.onNextSessionRestoreBookmark(bookmark)

    async def alarm(self):
        pass
"""
DUE_MS = 1_900_000_000_000


async def test_a_data_directory_of_the_previous_release_opens(bench: Bench) -> None:
    with zipfile.ZipFile(Path(__file__).with_name("data_0_1_0.zip")) as archive:
        archive.extractall(bench.root / "data")
    await bench.run(COUNTER)
    filled, counted = bench.stub("filled"), bench.stub("counted")
    content = await filled.content()
    assert bytes(content.pop("bytes")) == b"\x00\xff"
    assert content == {
        "list": [1, {"a": None}],
        "n": 1,
        "text": "é",
        "when": datetime.datetime(2026, 1, 2),
    }
    assert await filled.rows() == [{"x": 1, "y": "one"}]
    assert await filled.due() == DUE_MS
    assert bench.host.parts.alarms.due_ms(("app-Counter", filled.id.toString())) == DUE_MS
    before = await counted.bookmark()
    assert [await counted.add(), await counted.add()] == [4, 5]
    await counted.go(before)
    await bench.restart(COUNTER)
    assert await bench.stub("counted").add() == 4
    assert not [event for event in bench.events if event.level in ("warn", "error")]
