"""Room behind the log: it spares a sync the file's growth, and nothing that is there is written over."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from storage_bench import META, OBJECT_ID

from dohost.storage.database import Database
from dohost.storage.log_room import FRAME_BYTES, PAGES_MIN, ROOM_PAGES_MAX

INSERT = "INSERT INTO _cf_KV VALUES (?, ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v3" / "do" / META.unique_key / f"{OBJECT_ID}.sqlite"


def log_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def commit(database: Database, key: str, value: str = "1") -> None:
    database.begin()
    database.run(INSERT, (key, value))
    database.commit()
    database.sync()


def keys(path: Path) -> set[str]:
    database = Database(path, META)
    try:
        rows = database.execute("SELECT key FROM _cf_KV")
        return {str(key) for (key,) in rows}
    finally:
        database.close()


def test_a_log_that_is_written_again_and_again_rarely_changes_its_length(path: Path) -> None:
    database = Database(path, META)
    lengths = []
    for number in range(200):
        commit(database, str(number))
        lengths.append(log_bytes(path))
    pages = database.wal_pages
    database.close()
    assert pages >= 200
    assert len(set(lengths)) < 15
    assert lengths[-1] <= (pages + ROOM_PAGES_MAX + 4) * FRAME_BYTES
    assert keys(path) == set(map(str, range(200)))


def test_a_log_that_may_never_grow_gets_none(path: Path) -> None:
    database = Database(path, META)
    commit(database, "a")
    assert database.wal_pages < PAGES_MIN
    assert log_bytes(path) == 32 + database.wal_pages * FRAME_BYTES
    database.close()


def test_what_was_committed_is_there_after_a_crash(path: Path, tmp_path: Path) -> None:
    database = Database(path, META)
    for number in range(60):
        commit(database, str(number))
        copy = tmp_path / f"copy-{number}" / path.name
        copy.parent.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
        assert keys(copy) == set(map(str, range(number + 1)))
    database.close()


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
for line in sys.stdin:
    for key in line.split():
        connection.execute("INSERT INTO _cf_KV VALUES (?, 'theirs')", (key,))
    print("done", flush=True)
"""


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_what_another_process_appends_is_never_written_over(path: Path, room: int) -> None:
    """The other appends whenever `room` frames are left, which is where our next zeros could hit it."""
    database, wanted, theirs = Database(path, META), set[str](), 0
    command = [sys.executable, "-c", OTHER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for number in range(150):
            commit(database, f"ours-{number}")
            wanted.add(f"ours-{number}")
            left = (log_bytes(path) - 32) // FRAME_BYTES - database.wal_pages
            if left == room:
                name = f"theirs-{number}"
                other.stdin.write(f"{name}\n")
                other.stdin.flush()
                assert other.stdout.readline() == "done\n"
                wanted.add(name)
                theirs += 1
        other.stdin.close()
    assert theirs > 1
    assert {str(key) for (key,) in database.execute("SELECT key FROM _cf_KV")} == wanted
    assert database.value("PRAGMA integrity_check") == "ok"
    database.close()
    assert keys(path) == wanted


def test_a_disk_that_has_no_room_for_zeros_takes_commits_as_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    database = Database(path, META)
    for number in range(20):
        commit(database, str(number))
    assert log_bytes(path) == 32 + database.wal_pages * FRAME_BYTES
    database.close()
    assert keys(path) == set(map(str, range(20)))


def test_room_that_was_made_by_halves_is_made_up_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, at: whole(fd, content[:1_000], at))
    database = Database(path, META)
    for number in range(60):
        commit(database, str(number))
    database.close()
    assert keys(path) == set(map(str, range(60)))
