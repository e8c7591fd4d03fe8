"""One file: when it is made, when it is trusted, how a commit fails, and that it lasts."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from storage_bench import META, OBJECT_ID, StorageBench

from dohost.errors import JsException, Quarantined, StorageFailure, TooManyFiles
from dohost.storage.database import Database, ObjectMeta


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def written(path: Path) -> None:
    """Make a file with one key."""
    database = Database(path, META)
    database.begin()
    database.run("INSERT INTO _cf_KV VALUES ('k', '1')")
    database.commit()
    database.sync()
    database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v3" / "do" / META.unique_key / f"{OBJECT_ID}.sqlite"


def test_an_object_that_never_wrote_has_no_file(bench: StorageBench) -> None:
    bench.storage.get("k")
    bench.storage.list(prefix="x")
    bench.storage.getAlarm()
    bench.storage.delete  # noqa: B018 - looking at it writes nothing
    assert bench.sql("SELECT 1 AS x") == [{"x": 1}]
    assert bench.storage.sql.databaseSize == 4096
    bench.end_turn()
    assert not bench.path.parent.exists()
    assert not bench.database.created_now


def test_the_first_write_makes_a_private_file_in_wal_mode(bench: StorageBench) -> None:
    bench.storage.put("k", 1)
    assert bench.database.created_now
    bench.end_turn()
    assert not bench.database.created_now
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(bench.path.parent.stat().st_mode) == 0o700
    assert wal(bench.path).stat().st_size > 0
    other = apsw.Connection(str(bench.path))
    assert other.pragma("journal_mode") == "wal"
    row = other.execute("SELECT class_key, object_id, name, format FROM _cf_META").fetchall()
    assert row == [("app-Room", OBJECT_ID, "alice", 1)]
    other.close()


def test_closing_copies_nothing_and_keeps_the_log(path: Path) -> None:
    written(path)
    assert wal(path).stat().st_size > 0
    database = Database(path, META)
    assert database.exists
    assert database.value("SELECT value FROM _cf_KV") == "1"
    database.close()
    database.close()
    assert wal(path).stat().st_size > 0


def test_what_is_not_committed_is_gone_after_a_restart(path: Path) -> None:
    written(path)
    database = Database(path, META)
    database.begin()
    database.run("DELETE FROM _cf_KV")
    database.rollback()
    database.rollback()
    assert database.value("SELECT count(*) FROM _cf_KV") == 1
    database.begin()
    database.run("DELETE FROM _cf_KV")
    database.close()
    assert Database(path, META).value("SELECT count(*) FROM _cf_KV") == 1


# Files that can't be trusted


@pytest.mark.parametrize("content", [b"", b"x", b"junk" * 2000, b"SQLite format 3\0" + b"j" * 8000])
def test_a_damaged_file_is_quarantined_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Quarantined, match=OBJECT_ID):
        Database(path, META)
    assert path.read_bytes() == content
    assert sorted(path.parent.iterdir())[0] == path


def test_a_directory_in_the_place_of_the_file_is_quarantined(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(Quarantined):
        Database(path, META)


@pytest.mark.parametrize(
    "other",
    [
        ObjectMeta(unique_key="app-Room", object_id="cd" * 32, name="alice"),
        ObjectMeta(unique_key="app-Other", object_id=OBJECT_ID, name="alice"),
    ],
)
def test_a_file_of_another_object_is_quarantined(path: Path, other: ObjectMeta) -> None:
    written(path)
    with pytest.raises(Quarantined, match="belongs to object"):
        Database(path, other)


def test_a_file_of_a_newer_format_is_quarantined(path: Path) -> None:
    written(path)
    database = Database(path, META)
    database.begin()
    database.run("UPDATE _cf_META SET format = 99")
    database.commit()
    database.close()
    with pytest.raises(Quarantined, match="newer"):
        Database(path, META)


def test_a_log_without_its_file_is_quarantined(path: Path) -> None:
    written(path)
    path.unlink()
    with pytest.raises(Quarantined, match="is missing, but its log"):
        Database(path, META)
    assert not path.exists()


def wranglers(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_file_of_wranglers_is_taken_over_at_its_first_write(
    open_bench: Callable[..., StorageBench], tmp_path: Path
) -> None:
    path = tmp_path / "0" / "v3" / "do" / META.unique_key / f"{OBJECT_ID}.sqlite"
    wranglers(
        path,
        "CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
        "INSERT INTO _cf_KV VALUES ('k', x'ff0f4904')",
        "CREATE TABLE mine (x)",
    )
    bench = open_bench()
    assert bench.storage.kv.get("k") == 2
    assert bench.sql("SELECT * FROM mine") == []
    assert bench.storage.kv.list().__next__() == ["k", 2]
    assert apsw.Connection(str(path)).execute("PRAGMA table_list('_cf_META')").fetchall() == []
    bench.storage.put("n", 1)
    bench.reopen()
    assert bench.storage.kv.get("n") is None
    bench.storage.put("n", 1)
    bench.end_turn()
    bench.reopen()
    assert bench.database.value("SELECT name FROM _cf_META") == "alice"
    assert bench.storage.kv.get("n") == 1


def test_a_file_with_tables_of_the_user_alone_can_be_read(
    open_bench: Callable[..., StorageBench], tmp_path: Path
) -> None:
    path = tmp_path / "0" / "v3" / "do" / META.unique_key / f"{OBJECT_ID}.sqlite"
    wranglers(path, "CREATE TABLE mine (x)")
    storage = open_bench().storage
    assert storage.kv.get("k") is None
    assert list(storage.kv.list()) == []
    assert storage.alarm_due_ms() is None


# Failures of the system


def test_no_descriptor_left_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(path, META)
    real = os.open

    def refuse(name: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(name, flags, mode)

    monkeypatch.setattr("dohost.storage.files.os.open", refuse)
    with pytest.raises(TooManyFiles):
        database.begin()
    monkeypatch.undo()
    database.begin()
    database.close()


def test_a_file_that_can_not_be_written_whole_is_not_left_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(path, META)

    def refuse(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dohost.storage.files.os.write", refuse)
    with pytest.raises(StorageFailure, match="No space left") as caught:
        database.begin()
    assert caught.value.outcome == "not-applied"
    assert not path.exists()
    monkeypatch.undo()
    database.begin()
    database.commit()
    database.sync()
    database.close()


def test_after_a_failed_sync_every_sync_fails(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.storage.put("k", 1)
    bench.end_turn()
    bench.storage.put("k", 2)
    bench.database.commit()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dohost.storage.files.os.fdatasync", refuse)
    with pytest.raises(OSError, match="Input/output") as first:
        bench.database.sync()
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output") as second:
        bench.database.sync()
    assert first.value is second.value


def test_the_first_sync_covers_the_file_its_log_and_the_directories(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr("dohost.storage.files.os.fdatasync", note)
    monkeypatch.setattr("dohost.storage.files.os.fsync", note)
    database = Database(path, META)
    database.begin()
    # A new directory's entry is durable before anything is put in: others will rely on it, too.
    assert synced == [str(path.parents[depth]) for depth in (3, 2, 1)]
    synced.clear()
    database.commit()
    database.sync()
    assert synced == [str(path), str(wal(path)), str(path.parent)]
    database.begin()
    database.run("INSERT INTO _cf_KV VALUES ('k', '1')")
    database.commit()
    synced.clear()
    database.sync()
    assert synced == [str(wal(path))]
    database.close()


class FailingFile(apsw.VFSFile):
    """A file whose writes fail while `error` is set."""

    error: apsw.Error | None = None

    def xWrite(self, data: bytes, offset: int) -> None:
        if FailingFile.error is not None:
            raise FailingFile.error
        super().xWrite(data, offset)


class FailingVfs(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return FailingFile("unix", name, flags)


@pytest.fixture
def failing(bench: StorageBench) -> Iterator[StorageBench]:
    """A storage with a committed key, whose disk can be made to fail."""
    vfs = FailingVfs()
    bench.storage.put("k", "old")
    bench.end_turn()
    yield bench
    FailingFile.error = None
    bench.database.close()
    vfs.unregister()


def failure(kind: type[apsw.Error], result: int, extended: int) -> apsw.Error:
    error = kind("the disk failed")
    error.result = result  # type: ignore[attr-defined] # as apsw sets it on errors of SQLite's own
    error.extendedresult = extended  # type: ignore[attr-defined] # as above
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (failure(apsw.IOError, apsw.SQLITE_IOERR, apsw.SQLITE_IOERR_WRITE), "unknown"),
        (failure(apsw.FullError, apsw.SQLITE_FULL, apsw.SQLITE_FULL), "not-applied"),
    ],
)
def test_a_failed_commit_says_what_is_known_of_it(
    failing: StorageBench, error: apsw.Error, outcome: str
) -> None:
    failing.storage.put("k", "new")
    FailingFile.error = error
    with pytest.raises(StorageFailure) as caught:
        failing.end_turn()
    assert caught.value.outcome == outcome
    assert not failing.database.in_transaction
    FailingFile.error = None
    failing.reopen()
    assert failing.storage.kv.get("k") == "old"


def test_a_failed_commit_of_constraints_is_undone(bench: StorageBench) -> None:
    bench.sql(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
    )
    bench.end_turn()
    bench.sql("INSERT INTO c VALUES (1)")
    with pytest.raises(JsException, match="Durable Object was reset and rolled back"):
        bench.end_turn()
    assert not bench.database.in_transaction
    assert bench.sql("SELECT * FROM c") == []


# Checkpoints


def test_checkpoints_start_the_log_anew(bench: StorageBench) -> None:
    for number in range(30):
        bench.storage.put(f"k{number}", "x" * 5000)
        bench.end_turn()
    grown = bench.database.wal_pages
    assert grown > 60
    bench.database.checkpoint_passive()
    bench.storage.put("later", 1)
    bench.database.checkpoint_finish()
    assert bench.database.wal_pages == grown, "not while a transaction is open"
    bench.end_turn()
    bench.database.checkpoint_finish()
    assert bench.database.wal_pages == 0
    bench.storage.put("after", 1)
    bench.end_turn()
    assert 0 < bench.database.wal_pages < 10
    bench.reopen()
    assert bench.storage.kv.get("after") == 1
    assert bench.storage.kv.get("k0") == "x" * 5000


def test_a_reader_that_pins_the_log_is_no_error(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)")
    bench.end_turn()
    cursor = bench.storage.sql.exec("SELECT * FROM t")
    bench.storage.put("k", 1)
    bench.end_turn()
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()
    assert bench.database.wal_pages > 0
    assert len(cursor.toArray()) == 3
    bench.database.checkpoint_finish()
    assert bench.database.wal_pages == 0


def test_a_checkpoint_of_nothing_does_nothing(path: Path) -> None:
    database = Database(path, META)
    database.checkpoint_finish()
    database.close()
    database.checkpoint_finish()


def test_databases_say_what_they_are(path: Path) -> None:
    database = Database(path, META)
    assert repr(database) == f"<Database {path.name} without a file, 0 pages in the log>"
    database.close()
    assert "closed" in repr(database)
