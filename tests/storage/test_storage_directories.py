"""Entries of directories: synced before anybody relies on them, and not once more than that."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_bench import META, OBJECT_ID

from dohost.storage.database import Database
from dohost.storage.directories import Directory, beside


class Disk:
    """What is synced while it stands in for the system's calls."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.error: OSError | None = None
        self.on_sync = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def sync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self.synced.append(path)
        self.on_sync.set()
        assert self.go_on.wait(10)
        if self.error is not None and os.path.isdir(path):
            raise self.error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("dohost.storage.files.os.fdatasync", disk.sync)
    monkeypatch.setattr("dohost.storage.files.os.fsync", disk.sync)
    yield disk
    disk.go_on.set()


def put(database: Database, value: str) -> None:
    database.begin()
    database.run("INSERT OR REPLACE INTO _cf_KV VALUES ('k', ?)", (value,))


def stored(database: Database, value: str) -> None:
    put(database, value)
    database.commit()
    database.sync()


def path_of(directory: Directory, number: int = 0) -> Path:
    return directory.path / f"{OBJECT_ID[:-1]}{number}.sqlite"


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def opened(directory: Directory, number: int = 0) -> Database:
    return Database(path_of(directory, number), META, directory=directory)


def test_an_object_that_is_opened_again_needs_no_sync_of_its_directory(
    directory: Directory, disk: Disk
) -> None:
    first = opened(directory)
    stored(first, "1")
    assert disk.synced.count(str(directory.path)) == 1
    first.close()
    again = opened(directory)
    disk.synced.clear()
    stored(again, "2")
    again.close()
    assert disk.synced == [f"{path_of(directory)}-wal"]


def test_nothing_from_before_this_process_is_taken_to_be_durable(
    directory: Directory, disk: Disk
) -> None:
    first = opened(directory)
    stored(first, "1")
    first.close()
    later = Directory(directory.path)
    again = opened(later)
    disk.synced.clear()
    stored(again, "2")
    again.close()
    assert disk.synced == [f"{path_of(directory)}-wal", str(directory.path)]


def test_an_empty_log_may_have_been_made_by_somebody_who_only_looked(
    directory: Directory, disk: Disk
) -> None:
    first = opened(directory)
    stored(first, "1")
    first.close()
    Path(f"{path_of(directory)}-wal").write_bytes(b"")
    again = opened(directory)
    disk.synced.clear()
    stored(again, "2")
    again.close()
    assert str(directory.path) in disk.synced


def test_a_log_that_holds_only_what_was_never_committed_may_be_new(
    directory: Directory, disk: Disk
) -> None:
    other = opened(directory, 1)
    stored(other, "1")  # the directory is synced
    other.close()
    first = opened(directory)
    first.begin()
    first.user_connection().pragma("cache_size", 1)
    for number in range(50):
        first.run("INSERT INTO _cf_KV VALUES (?, zeroblob(4000))", (f"key{number}",))
    assert Path(f"{path_of(directory)}-wal").stat().st_size > 0
    first.rollback()
    first.close()
    again = opened(directory)
    disk.synced.clear()
    stored(again, "2")
    again.close()
    assert str(directory.path) in disk.synced


def test_files_that_appear_together_share_a_sync(directory: Directory, disk: Disk) -> None:
    disk.go_on.clear()
    first = threading.Thread(target=directory.sync_until, args=(directory.count(),))
    first.start()
    assert disk.on_sync.wait(10)
    others = [directory.count() for _ in range(5)]
    threads = [threading.Thread(target=directory.sync_until, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    disk.go_on.set()
    for thread in (first, *threads):
        thread.join()
    assert disk.synced == [str(directory.path)] * 2


def test_a_file_that_appears_while_the_directory_is_synced_waits_for_the_next_sync(
    directory: Directory, disk: Disk
) -> None:
    disk.go_on.clear()
    early = threading.Thread(target=directory.sync_until, args=(directory.count(),))
    early.start()
    assert disk.on_sync.wait(10)
    late = directory.count()
    disk.go_on.set()
    early.join()
    directory.sync_until(late)
    assert disk.synced == [str(directory.path)] * 2


def test_a_directory_that_was_made_anew_meanwhile_is_the_one_that_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    directory = Directory(tmp_path / "objects")
    directory.path.mkdir()
    directory.get_ready()
    (tmp_path / "objects").rename(tmp_path / "removed")
    directory.path.mkdir()
    monkeypatch.setattr(
        "dohost.storage.directories.os.fsync",
        lambda descriptor: synced.append(os.fstat(descriptor).st_ino),
    )
    directory.sync_until(directory.count())
    assert synced == [directory.path.stat().st_ino]


def test_a_failed_sync_fails_for_all_that_relied_on_it_and_for_nobody_after(
    directory: Directory, disk: Disk
) -> None:
    durable = directory.count()
    directory.sync_until(durable)
    lost = [directory.count(), directory.count()]
    disk.error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output error"):
        directory.sync_until(lost[0])
    disk.error = None
    directory.sync_until(directory.appeared)
    for number in lost:
        with pytest.raises(OSError, match="Input/output error"):
            directory.sync_until(number)
    directory.sync_until(durable)


def test_creating_an_object_syncs_nothing_before_its_own_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Syncs that SQLite makes run on the loop: of the header of a new log, and of its directory."""
    calls: list[object] = []
    database = opened(Directory(tmp_path))
    database.ensure_file()
    connection = database.user_connection()
    assert connection.pragma("synchronous") == 0
    database.begin()
    database.commit()
    monkeypatch.setattr("dohost.storage.files.os.fdatasync", calls.append)
    database.sync()
    # From now on something is durable, and SQLite keeps the order that this needs.
    database.begin()
    database.commit()
    assert connection.pragma("synchronous") == 1
    database.close()


def test_sqlite_syncs_what_it_copies_out_of_a_new_log(tmp_path: Path) -> None:
    database = opened(Directory(tmp_path))
    stored(database, "1")
    database.checkpoint_finish()
    assert database.user_connection().pragma("synchronous") == 1
    assert database.wal_pages == 0
    database.close()


@pytest.mark.parametrize("name", ["id.sqlite", "a.b.sqlite", "directory.d/id.sqlite"])
def test_a_companion_is_named_as_pathlib_names_it(name: str) -> None:
    assert beside(Path(name), ".history") == str(Path(name).with_suffix(".history"))
