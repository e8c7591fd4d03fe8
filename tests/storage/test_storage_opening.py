"""What a crash leaves of a file that was being created is set aside; everything else is quarantined."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_bench import META, OBJECT_ID

from dohost.errors import Quarantined, StorageFailure
from dohost.storage.database import Database
from dohost.storage.opening import open_object
from dohost.storage.schema import image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / f"{OBJECT_ID}.sqlite"


def opened(path: Path, *, is_recorded: bool) -> Database:
    return open_object(path, lambda: Database(path, META), is_recorded=lambda: is_recorded)


def holes() -> bytes:
    """Return an image of which two sectors never reached the disk."""
    content = bytearray(image())
    content[0:512] = bytes(512)
    content[8192:8704] = bytes(512)
    return bytes(content)


TORN = [b"", image()[:512], image()[:5000], bytes(len(image())), holes()]


@pytest.mark.parametrize("content", TORN)
def test_an_unfinished_file_that_was_never_recorded_is_set_aside(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(b"a log")
    database = opened(path, is_recorded=False)
    assert database.is_begun_anew
    assert not database.exists
    database.begin()
    database.commit()
    database.close()
    assert path.with_name(f"{path.name}.unfinished").read_bytes() == content
    assert path.with_name(f"{path.name}.unfinished-wal").read_bytes() == b"a log"


def test_a_log_whose_file_never_reached_the_disk_is_set_aside(path: Path) -> None:
    Path(f"{path}-wal").write_bytes(b"a log")
    assert not opened(path, is_recorded=False).exists


def test_what_was_set_aside_stays_there_after_a_power_cut(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may be told at once that the object is empty."""
    path.write_bytes(b"")
    there_at_sync: list[list[str]] = []
    monkeypatch.setattr(
        "dohost.storage.files.sync_directory",
        lambda directory: there_at_sync.append(sorted(os.listdir(directory))),
    )
    assert opened(path, is_recorded=False).is_begun_anew
    assert there_at_sync == [[f"{path.name}.unfinished"]]


def test_a_file_that_can_not_be_set_aside_for_good_is_not_begun_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path.write_bytes(b"")
    monkeypatch.setattr("dohost.storage.files.sync_directory", fail)
    with pytest.raises(StorageFailure, match="can't be set aside"):
        opened(path, is_recorded=False)


@pytest.mark.parametrize("content", TORN)
def test_a_recorded_file_is_never_set_aside(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Quarantined):
        opened(path, is_recorded=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"junk" * 2000, image()[:-1] + b"x" * 2, b"\x01" * 16384])
def test_a_damaged_file_with_anything_in_it_is_quarantined_even_if_it_was_never_recorded(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content.replace(b"SQLite", b"Sqlite"))
    with pytest.raises(Quarantined):
        opened(path, is_recorded=False)
    assert path.exists()


def test_a_whole_new_file_is_used_as_it_is(path: Path) -> None:
    path.write_bytes(image())
    database = opened(path, is_recorded=False)
    assert database.exists
    assert not database.is_begun_anew
    database.close()


def test_a_page_that_was_lost_shows_when_the_file_is_opened(path: Path) -> None:
    content = bytearray(image())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(Quarantined, match="damaged"):
        Database(path, META)
