"""A disk that fails now says nothing about the content of a file, and loses nothing that was to be done."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw
import pytest
from storage_bench import META, StorageBench

from dohost.errors import HostError, Quarantined, StorageFailure, TooManyFiles
from dohost.storage import connection, failures, integrity
from dohost.storage.checkpoint import copy_in_thread
from dohost.storage.database import Database
from dohost.storage.durable_file import write_durably
from dohost.storage.failures import is_out_of_descriptors
from dohost.storage.files import failed_sync
from dohost.storage.history import DEFAULT_LIMITS, history_path, opened_history
from dohost.storage.integrity import note_path, quarantine
from dohost.storage.log_file import LogStartedAnew, read_header, read_runs
from dohost.storage.opening import open_object
from dohost.storage.restore import order_path


@pytest.fixture
def path(bench: StorageBench) -> Path:
    """An object's file with one key."""
    bench.storage.put("k", 1)
    bench.end_turn()
    bench.database.close()
    return bench.path


def test_a_file_that_can_not_be_opened_now_is_not_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> apsw.Connection:
        raise apsw.CantOpenError("unable to open database file")

    monkeypatch.setattr("dohost.storage.connecting.open_file", refuse)
    with pytest.raises(StorageFailure) as caught:
        Database(path, META)
    assert (caught.value.code, caught.value.status) == ("storage-failed", 503)
    monkeypatch.undo()
    Database(path, META).close()


def test_a_file_that_opens_for_reading_only_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As SQLite does by itself when the system refuses to open a file for writing.
    monkeypatch.setattr(connection.apsw, "SQLITE_OPEN_READWRITE", apsw.SQLITE_OPEN_READONLY)
    with pytest.raises(StorageFailure, match="for writing"):
        Database(path, META)


@pytest.mark.parametrize("gone", ["all", "main", "log", "replaced"])
def test_writes_to_files_that_somebody_has_removed_are_not_acknowledged(
    path: Path, gone: str
) -> None:
    database = Database(path, META)
    log = Path(f"{path}-wal")

    def write(value: str) -> None:
        database.begin()
        database.run("INSERT OR REPLACE INTO _cf_KV VALUES ('k', ?)", (value,))
        database.commit()
        database.sync()

    write("2")
    if gone in ("all", "main"):
        path.unlink()
    if gone in ("all", "log"):
        log.unlink()
    if gone == "replaced":
        content = log.read_bytes()
        log.unlink()
        log.write_bytes(content)
    for value in ("3", "4"):
        with pytest.raises(OSError, match="removed or replaced"):
            write(value)
    database.close()
    # No sync has failed that the next process would have to make up for.
    assert failed_sync(path) is None


def test_a_log_that_can_only_be_read_ends_the_instance(bench: StorageBench) -> None:
    broken: list[HostError] = []
    bench.storage.put("k", 1)
    bench.end_turn()
    bench.database.on_critical = broken.append  # type: ignore[assignment]
    bench.database.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageFailure, match="SQLITE_READONLY") as caught:
        bench.database.begin()
    assert broken == [caught.value]
    assert caught.value.outcome == "not-applied"


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_an_object_whose_directory_can_not_be_read_is_not_a_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(name: object) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(integrity.os, "lstat", refuse)
    with pytest.raises(HostError) as caught:
        Database(path, META)
    assert caught.value.status == 503
    monkeypatch.undo()
    database = Database(path, META)
    assert database.exists
    database.close()


def test_a_full_disk_does_not_hide_that_a_file_is_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(integrity, "write_durably", refuse)
    assert isinstance(quarantine(path, "a page is zero"), Quarantined)
    assert not note_path(path).exists()


@pytest.mark.parametrize(
    ("failure", "stands"),
    [
        (apsw.FullError("full"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (StorageFailure("no room", outcome="unknown"), True),
        (HostError("that state is gone"), False),
    ],
)
def test_an_order_to_restore_outlives_a_failing_disk(
    bench: StorageBench,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    stands: bool,
) -> None:
    bench.storage.put("k", "before")
    bench.end_turn()
    bookmark = bench.storage.getCurrentBookmark()._result
    bench.storage.put("k", "after")
    bench.end_turn()
    bench.storage.onNextSessionRestoreBookmark(bookmark)
    bench.database.close()

    def refuse(*arguments: object, **named: object) -> None:
        raise failure

    monkeypatch.setattr("dohost.storage.restore.write_database", refuse)
    with pytest.raises(HostError):
        bench.open()
    monkeypatch.undo()
    assert order_path(bench.path).exists() == stands
    bench.open()
    assert bench.storage.get("k")._result == ("before" if stands else "after")


def test_a_log_that_is_started_anew_while_it_is_kept_is_no_failure(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.storage.put("k", "x" * 9000)
    bench.end_turn()
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()
    real = read_header

    def overtaken(path: Path) -> object:
        header = real(path)
        # At this moment the loop commits, and SQLite begins a log of its own accord.
        bench.storage.put("k", "new")
        bench.end_turn()
        return header

    monkeypatch.setattr("dohost.storage.checkpoint.read_header", overtaken)
    old = real(bench.path)
    copy_in_thread(bench.path, DEFAULT_LIMITS, now_s=0, require_trust=lambda: None)
    monkeypatch.undo()
    assert old is not None
    with pytest.raises(LogStartedAnew):
        list(read_runs(bench.path, salt=old.salt, first=1, last=1))
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()
    with opened_history(bench.path) as history:
        assert [each.frames > 0 for each in history.generations()] == [True, True]
    assert history_path(bench.path).exists()
    assert bench.storage.get("k")._result == "new"


def test_what_fails_while_the_tail_of_a_log_is_copied_is_the_hosts_error(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.storage.put("k", 1)
    bench.end_turn()

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("dohost.storage.checkpoint.read_header", refuse)
    with pytest.raises(HostError) as caught:
        bench.database.checkpoint_finish()
    assert caught.value.code == "too-many-files"
    monkeypatch.setattr("dohost.storage.own_log.read_header", refuse)
    with pytest.raises(HostError):
        bench.database.log_state()


def take_descriptors(
    monkeypatch: pytest.MonkeyPatch, database: Database, *, is_there_room: bool
) -> None:
    """Let the process have no descriptor left, until others make room, if they can."""
    real = os.open

    def refuse(name: object, flags: int, mode: int = 0o777) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    def make_room() -> bool:
        if is_there_room:
            monkeypatch.setattr("dohost.storage.files.os.open", real)
        return is_there_room

    database.make_room = make_room
    monkeypatch.setattr("dohost.storage.files.os.open", refuse)


@pytest.mark.parametrize("is_there_room", [True, False])
def test_when_no_descriptor_is_left_others_give_theirs_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there_room: bool
) -> None:
    database = Database(tmp_path / "new.sqlite", META)
    take_descriptors(monkeypatch, database, is_there_room=is_there_room)
    if is_there_room:
        database.begin()
    else:
        with pytest.raises(TooManyFiles):
            database.begin()
    monkeypatch.undo()
    database.close()


@pytest.mark.parametrize("is_there_room", [True, False])
def test_a_lack_of_descriptors_shows_before_anything_is_written_and_costs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_there_room: bool
) -> None:
    database = Database(path, META)
    take_descriptors(monkeypatch, database, is_there_room=is_there_room)
    if not is_there_room:
        with pytest.raises(TooManyFiles):
            database.begin()
        assert not database.in_transaction
        monkeypatch.undo()
    database.begin()
    # Whatever the process has left by now, the commit and its sync need none.
    take_descriptors(monkeypatch, database, is_there_room=False)
    database.run("INSERT OR REPLACE INTO _cf_KV VALUES ('k', 'v')")
    database.commit()
    database.sync()
    database.close()


def test_the_descriptor_that_is_synced_is_open_before_anything_is_written(path: Path) -> None:
    """The system reports what it could not write to the descriptors that were open by then."""
    database = Database(path, META)
    size = Path(f"{path}-wal").stat().st_size
    database.begin()
    at_log = [
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{name}")
    ].count(f"{path}-wal")
    assert at_log == 2  # SQLite's and ours
    assert Path(f"{path}-wal").stat().st_size == size
    database.close()


def test_a_file_is_opened_again_when_others_have_made_room(path: Path) -> None:
    tries: list[str] = []

    def make() -> Database:
        tries.append("open")
        if len(tries) == 1:
            raise TooManyFiles("no file descriptor left")
        return Database(path, META)

    with pytest.raises(TooManyFiles):
        open_object(path, make, is_recorded=lambda: True, make_room=lambda: False)
    tries.clear()
    open_object(path, make, is_recorded=lambda: True, make_room=lambda: True).close()
    assert tries == ["open", "open"]


def test_fewer_descriptors_than_an_object_takes_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [0]
    real = os.open

    def scarce(name: str, flags: int) -> int:
        if not left[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        left[0] -= 1
        return real(name, flags)

    monkeypatch.setattr(failures.os, "open", scarce)
    for count, is_out in ((0, True), (3, True), (5, False)):
        left[0] = count
        assert is_out_of_descriptors() == is_out


def test_a_history_that_is_no_database_is_put_aside_so_that_logs_are_copied_again(
    bench: StorageBench,
) -> None:
    bench.storage.put("k", 1)
    bench.end_turn()
    history_path(bench.path).write_bytes(b"junk" * 20_000)
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()
    assert bench.database.wal_pages == 0
    assert bench.path.with_suffix(".history-damaged").read_bytes() == b"junk" * 20_000


def test_a_small_file_that_can_not_be_written_leaves_nothing_beside_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_durably(tmp_path / "note", b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "note", b"new")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


def test_a_copy_for_which_there_is_no_room_says_so(path: Path, tmp_path: Path) -> None:
    source = apsw.Connection(str(path))
    small = apsw.Connection(str(tmp_path / "small"))
    small.pragma("max_page_count", 1)
    with pytest.raises(apsw.FullError) as caught, small.backup("main", source, "main") as backup:
        backup.step()
    source.close()
    small.close()
    assert failures.message_of(caught.value) == "database or disk is full: SQLITE_FULL"
