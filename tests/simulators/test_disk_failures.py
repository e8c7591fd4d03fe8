"""A disk that is full, fails, or loses a file beneath a binding: what the caller hears, and what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiosqlite
import pytest
from ungated import make_resources
from workers import ReadableStream

from dohost.clock import ManualClock
from dohost.errors import JsException
from dohost.simulators import r2_blobs
from dohost.simulators.d1_store import D1Store
from dohost.simulators.resources import Resources

BIG = "x" * 50_000
KIB = 1024
Write = Callable[[Resources, str], Awaitable[object]]


async def d1_put(resources: Resources, key: str) -> None:
    db = resources.d1_database("db")
    table = db.prepare("CREATE TABLE IF NOT EXISTS t (k TEXT, v TEXT)")
    await db.batch([table, db.prepare("INSERT INTO t VALUES (?, ?)").bind(key, BIG)])


async def d1_has(resources: Resources, key: str) -> bool:
    found = await resources.d1_database("db").prepare("SELECT k FROM t").raw()
    return [key] in found


async def kv_has(resources: Resources, key: str) -> bool:
    return await resources.kv_namespace("kv").get(key) == BIG


def queue(resources: Resources) -> object:
    return resources.queue("jobs", delay_s=0.0, content_type="text")


WRITES: dict[str, tuple[Write, str]] = {
    "kv": (lambda r, key: r.kv_namespace("kv").put(key, BIG), "KV PUT failed: {status} {reason}"),
    "queue": (lambda r, key: queue(r).send(BIG), "Queue send failed: {reason}"),
    "r2": (
        lambda r, key: r.r2_bucket("b").put(key, "x", customMetadata={"m": "y" * 1500}),
        "put: {reason} (10001)",
    ),
    "d1": (d1_put, "D1_ERROR: {reason}"),
}


@pytest.fixture(params=list(WRITES))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, clock: ManualClock, *, seed: int) -> AsyncIterator[Resources]:
    """Give the simulators of one run."""
    resources = make_resources(tmp_path, clock, seed=seed)
    try:
        yield resources
    finally:
        await resources.close()


def database(tmp_path: Path) -> Path:
    """Return the only database there is."""
    (path,) = tmp_path.rglob("*.sqlite")
    return path


@contextlib.contextmanager
def no_file_grows_over(size: int) -> Iterator[None]:
    """Let writes beyond a size fail, as a disk that fails does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def limit_pages(resources: Resources, pages: int) -> None:
    """Let the files that are open be full, or not."""
    for store in resources._stores.values():
        connection = store._file._connection
        if isinstance(connection, aiosqlite.Connection):
            await connection.execute(f"PRAGMA max_page_count = {pages}")
        elif connection is not None:
            connection.pragma("max_page_count", pages)


async def test_a_full_file_is_told_in_the_words_of_the_binding_until_there_is_room(
    resources: Resources, kind: str
) -> None:
    write, words = WRITES[kind]
    await write(resources, "a")

    async def write_many() -> None:
        for key in "bcdefg":
            await write(resources, key)

    await limit_pages(resources, 1)
    for _ in range(2):
        with pytest.raises(JsException) as caught:
            await write_many()
        reason = "database or disk is full" + (": SQLITE_FULL" if kind == "d1" else "")
        assert caught.value.message == words.format(status=507, reason=reason)
        assert (caught.value.code, caught.value.status) == ("storage-full", 507)
    await limit_pages(resources, 10**6)
    await write(resources, "h")


async def test_a_commit_that_fails_is_of_unknown_outcome_and_reads_go_on(
    resources: Resources, kind: str
) -> None:
    write, words = WRITES[kind]
    for key in "abcd":
        await write(resources, key)
    with no_file_grows_over(4 * KIB):
        with pytest.raises(JsException) as caught:
            await write(resources, "e")
        if kind in ("kv", "d1"):
            has = {"kv": kv_has, "d1": d1_has}[kind]
            assert [await has(resources, key) for key in "ae"] == [True, False]
    reason = "disk I/O error" + (": SQLITE_IOERR (extended: SQLITE_IOERR_WRITE)" * (kind == "d1"))
    reason += "; whether it was kept is unknown"
    assert caught.value.message == words.format(status=500, reason=reason)
    assert caught.value.code == "outcome-unknown"
    await write(resources, "f")


async def test_an_object_whose_row_may_yet_come_keeps_its_bytes_until_the_next_run(
    tmp_path: Path, clock: ManualClock
) -> None:
    write, _ = WRITES["r2"]
    blobs = tmp_path / "v3/r2/b/blobs"
    async with opened(tmp_path, clock, seed=1) as resources:
        for key in "abcd":
            await write(resources, key)
        with no_file_grows_over(4 * KIB), pytest.raises(JsException, match="unknown"):
            await write(resources, "e")
        assert len(list(blobs.iterdir())) == 5
    async with opened(tmp_path, clock, seed=2) as resources:
        await write(resources, "f")
    assert len(list(blobs.iterdir())) == 5


@pytest.mark.parametrize(("gone", "left"), [("", 1), ("-wal", 2)])
async def test_a_file_that_was_deleted_is_made_anew_before_anything_is_acknowledged(
    resources: Resources, kind: str, tmp_path: Path, gone: str, left: int
) -> None:
    write, _ = WRITES[kind]
    await write(resources, "a")
    path = database(tmp_path)
    path.with_name(f"{path.name}{gone}").unlink()
    await write(resources, "b")
    other = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    tables = {"kv": "entries", "queue": "messages", "r2": "objects", "d1": "t"}
    assert other.execute(f"SELECT count(*) FROM {tables[kind]}").fetchall() == [(left,)]
    other.close()


@pytest.mark.parametrize(("put", "has"), [(WRITES["kv"][0], kv_has), (d1_put, d1_has)])
async def test_a_file_that_was_replaced_is_opened_without_the_log_of_the_one_before(
    resources: Resources,
    tmp_path: Path,
    put: Write,
    has: Callable[[Resources, str], Awaitable[bool]],
) -> None:
    await put(resources, "a")
    await resources.close()
    path = database(tmp_path)
    shutil.copyfile(path, tmp_path / "saved")
    await put(resources, "b")
    (tmp_path / "saved").replace(path)
    await put(resources, "c")
    assert [await has(resources, key) for key in "abc"] == [True, False, True]
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.close()


async def test_a_run_of_d1_that_can_not_be_taken_back_ends_with_its_connection(
    resources: Resources, tmp_path: Path
) -> None:
    await d1_put(resources, "a")
    (store,) = [each for each in resources._stores.values() if isinstance(each, D1Store)]
    connection = store._file._connection

    def refuses(cursor: object, sql: str, bindings: object) -> bool:
        return sql not in ("COMMIT", "ROLLBACK")

    connection.exec_trace = refuses
    with pytest.raises(JsException, match="D1_ERROR"):
        await d1_put(resources, "b")
    await d1_put(resources, "c")
    assert [await d1_has(resources, key) for key in "abc"] == [True, False, True]


async def test_a_transaction_that_can_not_be_taken_back_ends_with_its_connection(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv = resources.kv_namespace("kv")
    await kv.put("a", BIG)
    rollback = aiosqlite.Connection.rollback

    async def fails(connection: aiosqlite.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(aiosqlite.Connection, "rollback", fails)
    await limit_pages(resources, 1)
    with pytest.raises(JsException, match="KV PUT failed: 507"):
        await kv.put("b", BIG)
    monkeypatch.setattr(aiosqlite.Connection, "rollback", rollback)
    await kv.put("c", BIG)
    assert [key["name"] for key in (await kv.list())["keys"]] == ["a", "c"]


# Blobs --------------------------------------------------------------------------------------


async def test_blobs_go_in_a_thread_when_their_rows_are_gone(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, removed = resources.r2_bucket("b"), []
    remove = r2_blobs._remove

    def noted(paths: list[Path]) -> None:
        paths = list(paths)
        other = sqlite3.connect(database(tmp_path))
        rows = other.execute("SELECT blobs FROM objects").fetchall()
        other.close()
        is_named = any(path.name in str(rows) for path in paths)
        removed.append(
            (len(paths), is_named, threading.current_thread() is threading.main_thread())
        )
        time.sleep(0.05)  # a slow disk: whoever closes the bucket waits for it
        remove(paths)

    monkeypatch.setattr(r2_blobs, "_remove", noted)
    for key in "abc":
        await bucket.put(key, "old")
    removed.clear()
    await bucket.put("a", "new")
    held = await bucket.get("a")
    await bucket.delete(["a", "b", "c"])
    assert await held.text() == "new"
    await resources.close()
    assert removed == [(1, False, False), (2, False, False), (1, False, False)]
    assert list((tmp_path / "v3/r2/b/blobs").iterdir()) == []


async def test_a_blob_that_can_not_be_removed_fails_nobody(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = resources.r2_bucket("b")

    def fails(path: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error")

    await bucket.put("a", "1")
    monkeypatch.setattr(Path, "unlink", fails)
    await bucket.put("a", "2")
    assert await (await bucket.get("a")).text() == "2"
    await bucket.delete("a")
    assert await bucket.head("a") is None


async def test_what_is_being_read_outlives_the_removal_of_what_a_crash_left(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with opened(tmp_path, clock, seed=1) as resources:
        await resources.r2_bucket("b").put("a", "1")
    async with opened(tmp_path, clock, seed=2) as resources:
        bucket = resources.r2_bucket("b")
        held = await bucket.get("a")
        await bucket.delete("a")
        await bucket.put("b", "2")
        assert await held.text() == "1"
    assert len(list((tmp_path / "v3/r2/b/blobs").iterdir())) == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: os.truncate(path, 3), "ended 5 bytes too early"),
        (Path.unlink, "No such file or directory"),
    ],
)
async def test_bytes_that_are_gone_are_told_as_a_failed_get(
    resources: Resources, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    bucket = resources.r2_bucket("b")
    await bucket.put("a", "12345678")
    (blob,) = (tmp_path / "v3/r2/b/blobs").iterdir()
    damage(blob)
    with pytest.raises(JsException, match=f"^Error: get: .*{reason}.*{re.escape('(10001)')}"):
        await (await bucket.get("a")).text()


async def test_a_body_whose_source_fails_is_not_taken_for_the_disk(resources: Resources) -> None:
    async def broken():
        yield b"x"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await resources.r2_bucket("b").put("a", ReadableStream.from_async_iterable(broken()))


async def test_a_put_that_is_cancelled_in_its_commit_has_a_row_with_its_bytes(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, committing = resources.r2_bucket("b"), asyncio.Event()
    execute = aiosqlite.Connection.execute

    async def noted(connection: aiosqlite.Connection, sql: str, *given: object) -> object:
        if sql == "COMMIT":
            committing.set()
        return await execute(connection, sql, *given)

    monkeypatch.setattr(aiosqlite.Connection, "execute", noted)
    task = asyncio.ensure_future(bucket.put("a", "x"))
    await committing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await (await bucket.get("a")).text() == "x"
