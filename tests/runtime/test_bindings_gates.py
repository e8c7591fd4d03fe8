"""Bindings and the gates of the object that uses them."""

from __future__ import annotations

import asyncio

import pytest
from host_bench import Bench
from workers import Request

from dohost.config import KvBinding, R2Binding, UnsupportedBinding
from dohost.errors import DohostError, JsException

CODE = """
import asyncio

class Counter(DurableObject):
    seen = 0

    async def write_both(self, fails):
        await self.ctx.storage.put("count", 1)
        if fails:
            self.ctx.storage.sql.exec("PRAGMA defer_foreign_keys = on")
            self.ctx.storage.sql.exec("CREATE TABLE p (id INTEGER PRIMARY KEY)")
            self.ctx.storage.sql.exec("CREATE TABLE c (p REFERENCES p (id))")
            self.ctx.storage.sql.exec("INSERT INTO c VALUES (1)")
        writing = self.env.KV.put("count", "1")
        await writing

    async def read(self):
        return await self.env.KV.get("count")

    async def lose_update(self):
        before = self.seen
        await self.env.KV.get("count")
        self.seen = before + 1
        return self.seen
"""


def with_kv(bench: Bench):
    return bench.config(CODE, kv_namespaces=(KvBinding(binding="KV", id="ns"),))


async def test_a_put_reaches_the_namespace_after_the_objects_own_write(bench: Bench) -> None:
    await bench.run(with_kv(bench))
    await bench.stub().write_both(False)
    assert await bench.stub().read() == "1"


async def test_a_put_that_depends_on_a_failed_write_never_happens(bench: Bench) -> None:
    await bench.run(with_kv(bench))
    with pytest.raises(DohostError, match="constraints were violated"):
        await bench.stub().write_both(True)
    assert await bench.stub().read() is None


async def test_other_events_run_while_a_binding_works(bench: Bench) -> None:
    await bench.run(with_kv(bench))
    stub = bench.stub()
    assert await asyncio.gather(stub.lose_update(), stub.lose_update()) == [1, 1]


async def test_what_was_begun_is_finished_when_the_host_ends(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        self.env.KV.put("late", "written")
        return Response("answered")
"""
    kv = (KvBinding(binding="KV", id="ns"),)
    await bench.run(bench.config(code, kv_namespaces=kv))
    await bench.get()
    reading = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(await self.env.KV.get("late"))
"""
    await bench.restart(bench.config(reading, kv_namespaces=kv))
    assert await (await bench.get()).text() == "written"


async def test_a_request_body_streams_into_a_bucket_and_out_again(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        bucket = self.env.BUCKET
        await bucket.put("up", request.body, {"httpMetadata": {"contentType": "text/plain"}})
        found = await bucket.get("up")
        return Response(found.body, headers={"etag": found.httpEtag})
"""
    await bench.run(bench.config(code, r2_buckets=(R2Binding(binding="BUCKET"),)))
    response = await bench.host.fetch(
        Request("http://localhost/", method="POST", body="x" * 1_000_000)
    )
    assert await response.text() == "x" * 1_000_000
    assert len(response.headers.get("etag") or "") == 34


async def test_a_binding_without_a_simulator_says_so_when_it_is_used(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(str(await self.env.MODEL.run("x")))
"""
    unsupported = (UnsupportedBinding(kind="AI", binding="MODEL"),)
    await bench.run(bench.config(code, unsupported=unsupported))
    with pytest.raises(JsException, match=r"env\.MODEL: dohost has no local AI\."):
        await bench.get()
