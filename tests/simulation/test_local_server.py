"""A running `dohost dev` as others on the machine and in the browser see it: rights of files, secrets, names."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Connection, Server

pytestmark = pytest.mark.long
CANARY = "canary-8c27f1e0"
PROGRAM = """
from urllib.parse import urlsplit
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        await self.env.KV.put("a", "b")
        await self.env.R2.put("k", b"x" * 100_000)
        await self.env.QUEUE.send({"a": 1})
        await self.env.D1.exec("CREATE TABLE IF NOT EXISTS t (a)")
        stub = self.env.COUNTER.getByName("a")
        return Response(str(await getattr(stub, urlsplit(request.url).path[1:])()))


class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        return value

    async def fail(self):
        secret = self.env.SECRET
        raise ValueError(f"refused: {secret}")

    async def fail_later(self):
        await self.ctx.storage.setAlarm(1)
        return "set"

    async def alarm(self):
        raise ValueError(self.env.SECRET)
"""
CONFIG = """
name = "local"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
kv_namespaces = [{ binding = "KV", id = "kv" }]
r2_buckets = [{ binding = "R2", bucket_name = "r2" }]
d1_databases = [{ binding = "D1", database_name = "d", database_id = "d" }]
[[queues.producers]]
queue = "q"
binding = "QUEUE"
[[durable_objects.bindings]]
name = "COUNTER"
class_name = "Counter"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Counter"]
"""


@contextlib.contextmanager
def serving(root: Path, umask: str) -> Iterator[Server]:
    (root / "wrangler.toml").write_text(CONFIG)
    (root / "entry.py").write_text(PROGRAM)
    (root / ".dev.vars").write_text(f"SECRET={CANARY}")
    wrapper = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
    server = Server(root, wrapper=wrapper, flags=("--ip", "0.0.0.0", "--log-level", "debug"))
    server.start()
    try:
        yield server
    finally:
        server.end()


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", ["000", "077"])
async def test_only_the_owner_can_read_the_data_whatever_the_umask(
    tmp_path: Path, umask: str
) -> None:
    with serving(tmp_path, umask) as server:
        assert await server.get("/increment") == "1"
        paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
        found = {path: rights(path) for path in paths if path.exists()}
        assert len(found) > 10
        wrong = {
            str(path): oct(mode)
            for path, mode in found.items()
            if mode != (0o700 if path.is_dir() else 0o600)
        }
        assert not wrong


async def test_a_secret_is_in_no_log_no_answer_and_no_file(tmp_path: Path) -> None:
    with serving(tmp_path, "022") as server:
        async with Connection(server.port) as connection:
            paths = ("/increment", "/fail", "/fail_later", "/nope", "/cdn-cgi/local/api/objects")
            answers = [await connection.ask(path) for path in paths]
        async with asyncio.timeout(20):
            while "alarm.failed" not in (tmp_path / "output").read_text():
                await asyncio.sleep(0.05)
    assert [answer.status for answer in answers] == [200, 500, 200, 500, 403]
    assert "refused: (hidden)" in answers[1].body
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(kept) > 5
    for path in (tmp_path / "output", *kept):
        assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in "".join(f"{answer.headers}{answer.body}" for answer in answers)
    output = (tmp_path / "output").read_text()
    assert "Listening on 0.0.0.0: everybody who can reach this address" in " ".join(output.split())
    assert ".dev.vars: every user of this machine can read it." in " ".join(output.split())
