"""Rows K15 and K17 to K20: bindings and handlers as Python code uses them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from host_bench import Bench

from dohost.config import AssetsConfig, D1Binding, KvBinding, QueueConsumer, QueueProducer
from dohost.runtime.schedules import ScheduledController


async def test_K17_binding_wrapper(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        kv = self.env.KV
        errors = []
        for use in (iter, len):
            try:
                use(kv)
            except TypeError as error:
                errors.append(str(error))
        await kv.put("a", "1", {"metadata": {"n": 1}})
        await kv.put("b", "2")
        many = await kv.get(["a", "b"])
        listed = await kv.list({"limit": 1})
        found = await kv.getWithMetadata("a")
        return Response.json({
            "errors": errors, "true": bool(kv), "many": [type(many).__mro__[1].__name__, many],
            "keys": [key.name for key in listed["keys"]], "complete": listed.list_complete,
            "cursor": listed.cursor, "found": [found.value, found.metadata.n],
        })
"""
    await bench.run(bench.config(code, kv_namespaces=(KvBinding(binding="KV", id="ns"),)))
    assert await (await bench.get()).json() == {
        "errors": [
            "'KvNamespace' object is not iterable",
            "object of type 'KvNamespace' has no len()",
        ],
        "true": True,
        "many": ["dict", {"a": "1", "b": "2"}],
        "keys": ["a"],
        "complete": False,
        "cursor": "YQ==",
        "found": ["1", 1],
    }


async def test_K18_d1_shapes(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        db = self.env.DB
        made = await db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        done = await db.prepare("INSERT INTO t (v) VALUES (?)").bind("x").run()
        rows = await db.prepare("SELECT * FROM t").all()
        first = await db.prepare("SELECT * FROM t").first()
        raw = await db.prepare("SELECT * FROM t").raw()
        batch = await db.batch([db.prepare("SELECT 1 AS one"), db.prepare("SELECT 2 AS two")])
        session = db.withSession()
        seen = await session.prepare("SELECT v FROM t").first("v")
        return Response.json({
            "made": sorted(made), "meta": sorted(done.meta), "results": rows.results,
            "first": first.v, "raw": raw, "batch": [each.results for each in batch], "seen": seen,
        })
"""
    await bench.run(bench.config(code, d1_databases=(D1Binding(binding="DB", database_id="d"),)))
    assert await (await bench.get()).json() == {
        "made": ["count", "duration"],
        "meta": [
            "changed_db",
            "changes",
            "duration",
            "last_row_id",
            "rows_read",
            "rows_written",
            "served_by",
            "size_after",
        ],
        "results": [{"id": 1, "v": "x"}],
        "first": "x",
        "raw": [[1, "x"]],
        "batch": [[{"one": 1}], [{"two": 2}]],
        "seen": "x",
    }


async def test_K15_scheduled(bench: Bench) -> None:
    code = """
seen = []

class Default(WorkerEntrypoint):
    async def scheduled(self, controller, env, ctx):
        seen.append([controller.scheduledTime, controller.cron])

    async def fetch(self, request):
        return Response.json(seen)
"""
    await bench.run(code)
    controller = ScheduledController(cron="* * * * 30", scheduled_ms=1000)
    assert await bench.host.schedules.run(controller) == "ok"
    assert await (await bench.get()).json() == [[1000, "* * * * 30"]]


async def test_K19_queue_batch(bench: Bench) -> None:
    code = """
seen = []

class Default(WorkerEntrypoint):
    async def queue(self, batch):
        for message in batch.messages:
            seen.append([batch.queue, message.body, message.attempts >= 1])

    async def fetch(self, request):
        if request.url.endswith("/send"):
            for body in ("text", 1, 1.5, None, [1, {"a": True}]):
                await self.env.JOBS.send(body)
        return Response.json(seen)
"""
    config = bench.config(
        code,
        queue_producers=(QueueProducer(binding="JOBS", queue="jobs"),),
        queue_consumers=(QueueConsumer(queue="jobs", max_batch_size=2, max_batch_timeout=0),),
    )
    await bench.run(config)
    await bench.get("http://localhost/send")
    while bench.host.resources.queues.running:
        await asyncio.wait(bench.host.resources.queues.running)
        await asyncio.sleep(0)
    bodies = ("text", 1, 1.5, None, [1, {"a": True}])
    assert await (await bench.get()).json() == [["jobs", body, True] for body in bodies]


async def test_K20_assets(bench: Bench, tmp_path: Path) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        page = await self.env.ASSETS.fetch("http://assets.local/hello")
        data = await self.env.ASSETS.fetch("http://assets.local/data.json")
        missing = await self.env.ASSETS.fetch("http://assets.local/nope")
        return Response.json({
            "text": await page.text(), "type": page.headers["content-type"],
            "json": await data.json(), "json_type": data.headers["content-type"],
            "missing": missing.status,
        })
"""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "hello.html").write_text("<h1>Hello</h1>")
    (tmp_path / "public" / "data.json").write_text('{"a": [1]}')
    assets = AssetsConfig(directory=tmp_path / "public", binding="ASSETS")
    await bench.run(bench.config(code, assets=assets))
    assert await (await bench.get("http://localhost/worker")).json() == {
        "text": "<h1>Hello</h1>",
        "type": "text/html; charset=utf-8",
        "json": {"a": [1]},
        "json_type": "application/json",
        "missing": 404,
    }
