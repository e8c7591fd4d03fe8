"""One process per data directory."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dohost.errors import CallerError, DataDirLocked, StorageFailure
from dohost.runtime.lock import DataDirLock, LockInfo, holder

HOLD = """
import sys, time
from pathlib import Path
from dohost.runtime.lock import DataDirLock, LockInfo
lock = DataDirLock(Path(sys.argv[1]))
lock.acquire(LockInfo(pid=4242, url="http://127.0.0.1:8787"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_has_the_directory(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DataDirLocked, match=r"process 4242 \(http://127.0.0.1:8787\)"):
            DataDirLock(tmp_path).acquire(LockInfo(pid=os.getpid()))
        found = holder(tmp_path)
        assert found is not None
        assert found.pid == 4242
        process.send_signal(signal.SIGKILL)
    lock = DataDirLock(tmp_path)
    lock.acquire(LockInfo(pid=os.getpid()))
    lock.release()


def test_a_directory_that_nobody_holds_has_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    lock = DataDirLock(tmp_path)
    lock.acquire(LockInfo(pid=1))
    lock.release()
    lock.release()
    assert holder(tmp_path) is None


def test_a_directory_that_cannot_be_made_is_the_callers_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CallerError, match="--persist-to"):
        DataDirLock(tmp_path / "file" / "data").acquire(LockInfo(pid=1))


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path / "data")
    lock.acquire(LockInfo(pid=1, token="secret"))
    assert (tmp_path / "data" / "dohost.lock").stat().st_mode & 0o077 == 0
    lock.release()


def test_a_full_disk_is_said_and_keeps_the_sign_of_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dohost.lock").write_text("a process that crashed")

    def refuse(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dohost.runtime.lock.os.pwrite", refuse)
    with pytest.raises(StorageFailure, match="No space left on device") as caught:
        DataDirLock(tmp_path).acquire(LockInfo(pid=1))
    assert caught.value.code == "storage-full"
    monkeypatch.undo()
    lock = DataDirLock(tmp_path)
    assert not lock.acquire(LockInfo(pid=1)), "the last holder crashed"
    lock.release()


def test_a_directory_on_a_disk_that_takes_no_writes_is_given_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    lock = DataDirLock(tmp_path)
    lock.acquire(LockInfo(pid=1))
    monkeypatch.setattr(os, "ftruncate", refuse)
    lock.release()
    monkeypatch.undo()
    assert not DataDirLock(tmp_path).acquire(LockInfo(pid=2))
