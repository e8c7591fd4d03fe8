"""`kill -9` under load: no acknowledged send, put, insert or deletion of a binding is lost.

One program has a queue with a consumer, a KV namespace, an R2 bucket and a D1 database. The consumer notes
what it is given in an object: every acknowledged message has to arrive at least once, over any number of
crashes of the server in which it is produced and consumed. What crashes leave of bodies and of copies is
gone after the next start, and nothing complains.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CLIENTS = 32
CYCLES = int(os.environ.get("DOHOST_BINDING_KILL_CYCLES", "10"))
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


class History:
    """What was acknowledged, by kind."""

    def __init__(self, chance: random.Random) -> None:
        self.acknowledged: dict[str, set[int]] = {kind: set() for kind in KINDS}
        self._chance = chance
        self._next = 0

    async def load(self, server: Server) -> None:
        """Write through random bindings on one connection until the server is gone."""
        try:
            async with Connection(server.port) as connection:
                while True:
                    kind, number = self._chance.choice(KINDS), self._next
                    self._next += 1
                    answer = await connection.ask(f"/write/{kind}", method="POST", body=str(number))
                    assert answer.status == 200, answer
                    self.acknowledged[kind].add(number)
        except (OSError, EOFError):
            return

    async def lost(self, server: Server, kind: str) -> set[int]:
        """Return what was acknowledged and is not there."""
        numbers = sorted(self.acknowledged[kind])
        async with Connection(server.port) as connection:
            answer = await connection.ask(f"/whole/{kind}", method="POST", body=json.dumps(numbers))
        return set(numbers) - set(json.loads(answer.body))


def blobs_of(bucket: Path) -> set[str]:
    """Return the blobs that a bucket names."""
    with contextlib.closing(sqlite3.connect(bucket / "objects.sqlite")) as rows:
        parts = {name for (name,) in rows.execute("SELECT blob FROM parts")}
        for (blobs,) in rows.execute("SELECT blobs FROM objects"):
            parts |= {name for name, _ in json.loads(blobs)}
    return parts


def assert_nothing_complains(server: Server) -> None:
    """Look at the directory with the commands for that, and at every file of a simulator."""
    for command in (["check"], ["doctor", "--persist-to", "data"]):
        done = subprocess.run(
            [sys.executable, "-m", "dohost", *command],
            cwd=server.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    files = [each for each in server.root.glob("data/v3/**/*.sqlite") if "do" not in each.parts]
    assert len(files) == 4
    for file in files:
        with contextlib.closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # Of everything that is written under another name first.
    assert [*server.root.glob("data/**/*.new"), *server.root.glob("data/**/*.importing")] == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server of the program, which ends with the test."""
    (tmp_path / "entry.py").write_text(ENTRY)
    (tmp_path / "wrangler.toml").write_text(CONFIG)
    server = Server(tmp_path)
    yield server
    server.end()


async def test_no_acknowledged_write_of_a_binding_is_lost_by_kill_9(server: Server) -> None:
    chance = random.Random(30)
    history = History(chance)
    for cycle in range(CYCLES):
        server.start()
        if not cycle:
            async with Connection(server.port) as connection:
                await connection.ask("/write/table", method="POST", body="0")
        clients = [asyncio.create_task(history.load(server)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.6 + chance.random() * 0.8)
        server.end(signal.SIGKILL)
        await asyncio.gather(*clients)
    server.start()
    for kind in ("kv", "r2", "parts", "removed", "d1"):
        assert await history.lost(server, kind) == set()
    deadline = time.monotonic() + 60
    while lost := await history.lost(server, "queue"):
        assert time.monotonic() < deadline, f"{len(lost)} messages did not arrive"
        await asyncio.sleep(0.2)
    async with Connection(server.port) as connection:
        # With the first body of a run goes what the crashes before it have left.
        await connection.ask("/write/r2", method="POST", body="0")
    bucket = server.root / "data/v3/r2/bucket"
    assert {each.name for each in (bucket / "blobs").iterdir()} == blobs_of(bucket)
    assert server.end(signal.SIGTERM) == 0
    assert_nothing_complains(server)
    total = sum(map(len, history.acknowledged.values()))
    # Slower than 100 a second, and the moments between writes would hardly be hit.
    assert total > CYCLES * 100, total
    assert all(len(numbers) > CYCLES * 10 for numbers in history.acknowledged.values())
