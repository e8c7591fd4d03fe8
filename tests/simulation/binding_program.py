"""A program with a queue, a KV namespace, an R2 bucket and a D1 database, whose every write can be looked for.

`POST /write/KIND` with a number writes it in the way of that kind, and `POST /whole/KIND` with a list of
numbers gives those that are there and whole. What the queue's consumer is given it notes in an object.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tests.simulation.server_process import Connection

KINDS = ("queue", "kv", "r2", "parts", "removed", "d1")
ENTRY = """
from urllib.parse import urlsplit
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, action, argument = urlsplit(request.url).path.split("/")
        if action == "whole":
            numbers = await request.json()
            kept = [each for each in numbers if await getattr(self, f"has_{argument}")(str(each))]
            return Response.json(kept)
        await getattr(self, f"write_{argument}")(str(await request.json()))
        return Response.json(None)

    async def write_table(self, number):
        await self.env.DB.exec("CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY)")

    async def write_queue(self, number):
        await self.env.JOBS.send(int(number))

    async def write_kv(self, number):
        await self.env.KV.put(number, number * 50)

    async def write_r2(self, number):
        await self.env.BUCKET.put(number, number * 500)

    async def write_parts(self, number):
        upload = await self.env.BUCKET.createMultipartUpload(number)
        await upload.complete([await upload.uploadPart(1, number * 500)])

    async def write_removed(self, number):
        await self.env.BUCKET.put(number, number * 500)
        await self.env.BUCKET.put(number, "")
        await self.env.BUCKET.delete(number)

    async def write_d1(self, number):
        await self.env.DB.prepare("INSERT INTO entries VALUES (?)").bind(int(number)).run()

    async def has_queue(self, number):
        return await self.env.CONSUMED.getByName("all").has(number)

    async def has_kv(self, number):
        return await self.env.KV.get(number) == number * 50

    async def has_r2(self, number):
        body = await self.env.BUCKET.get(number)
        return body is not None and await body.text() == number * 500

    has_parts = has_r2

    async def has_removed(self, number):
        return await self.env.BUCKET.head(number) is None

    async def has_d1(self, number):
        query = self.env.DB.prepare("SELECT count(*) AS found FROM entries WHERE number = ?")
        return await query.bind(int(number)).first("found") == 1

    async def queue(self, batch):
        await self.env.CONSUMED.getByName("all").note([str(each.body) for each in batch.messages])


class Consumed(DurableObject):
    async def note(self, numbers):
        for number in numbers:
            await self.ctx.storage.put(number, True)

    async def has(self, number):
        return await self.ctx.storage.get(number) is not None
"""
CONFIG = """
name = "bindings"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
kv_namespaces = [{ binding = "KV", id = "kv" }]
r2_buckets = [{ binding = "BUCKET", bucket_name = "bucket" }]
d1_databases = [{ binding = "DB", database_name = "db", database_id = "db" }]
[[durable_objects.bindings]]
name = "CONSUMED"
class_name = "Consumed"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Consumed"]
[[queues.producers]]
binding = "JOBS"
queue = "jobs"
[[queues.consumers]]
queue = "jobs"
max_batch_size = 5
max_batch_timeout = 0
max_retries = 100
max_concurrency = 4
"""


def write_project(root: Path) -> None:
    """Write the program."""
    (root / "entry.py").write_text(ENTRY)
    (root / "wrangler.toml").write_text(CONFIG)


async def whole(port: int, kind: str, numbers: Iterable[int]) -> set[int]:
    """Return which of `numbers` are there."""
    async with Connection(port) as connection:
        body = json.dumps(sorted(numbers))
        answer = await connection.ask(f"/whole/{kind}", method="POST", body=body)
    assert answer.status == 200, answer
    return set(json.loads(answer.body))


def blobs_of(bucket: Path) -> set[str]:
    """Return the blobs that a bucket names."""
    with contextlib.closing(sqlite3.connect(bucket / "objects.sqlite")) as rows:
        parts = {name for (name,) in rows.execute("SELECT blob FROM parts")}
        for (blobs,) in rows.execute("SELECT blobs FROM objects"):
            parts |= {name for name, _ in json.loads(blobs)}
    return parts
