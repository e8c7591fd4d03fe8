"""A damaged file: the right answer or an error that names it, and never a byte changed."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from storage_bench import META, OBJECT_ID, FakeHost, StorageBench

from dohost.clock import ManualClock
from dohost.errors import DohostError, Quarantined
from dohost.storage.database import Database, DatabaseOptions, ObjectMeta
from dohost.storage.integrity import note_path
from dohost.storage.storage import DurableObjectStorage

CONTENT = {f"key{number:03}": "x" * 500 for number in range(200)}


@pytest.fixture(params=["in the log", "in the file"])
def path(request: pytest.FixtureRequest, bench: StorageBench) -> Path:
    """An object's file with content, which only the log holds yet or the main file does."""
    bench.storage.put(CONTENT)
    bench.end_turn()
    if request.param == "in the file":
        bench.database.checkpoint_passive()
        bench.database.checkpoint_finish()
        bench.database.close()
        log_of(bench.path).unlink()
    bench.database.close()
    return bench.path


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def read(path: Path, meta: ObjectMeta = META) -> dict[str, object]:
    database = Database(path, meta, DatabaseOptions(clock=ManualClock()))
    try:
        storage = DurableObjectStorage(database, FakeHost(database), clock=ManualClock())
        return dict(storage.list()._result)
    finally:
        database.close()


def outcome(path: Path) -> str | None:
    """Return what is wrong; None if the content is right. Nothing else may happen."""
    before = path.read_bytes()
    errors = []
    for _ in range(2):
        try:
            assert read(path) == CONTENT
        except Quarantined as error:
            errors.append(str(error))
    assert len(errors) in (0, 2)
    assert all(str(path.parent) in each for each in errors)
    assert not errors or path.read_bytes() == before
    return errors[0] if errors else None


def test_an_undamaged_file_is_read(path: Path) -> None:
    assert outcome(path) is None


@pytest.mark.parametrize("size", [0, 1, 2, 15, 99, 100, 512, 4095, 4096, 8192, 12_288])
def test_a_file_that_was_cut_off(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        path.write_bytes(path.read_bytes()[:size])
        is_whole_in_log = log_of(path).exists() and size >= 100
        assert (outcome(path) is not None) or is_whole_in_log


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_in_the_place_of_everything(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path.write_bytes(chance.randbytes(path.stat().st_size))
    assert outcome(path) is not None


@pytest.mark.parametrize("position", range(100))
def test_a_flip_in_the_header(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << position % 8
    path.write_bytes(content)
    outcome(path)


@pytest.mark.parametrize("position", range(32))
def test_a_flip_in_the_header_of_the_log(path: Path, position: int) -> None:
    if not log_of(path).exists():
        return
    content = bytearray(log_of(path).read_bytes())
    content[position] ^= 1 << position % 8
    log_of(path).write_bytes(content)
    assert "its first bytes are not a log's" in str(outcome(path))


def test_a_log_of_zeros_was_never_acknowledged(bench: StorageBench) -> None:
    bench.storage.put("k", 1)
    bench.end_turn()
    bench.database.close()
    log_of(bench.path).write_bytes(bytes(9000))
    assert read(bench.path) == {}


def test_damage_inside_stays_an_error_over_restarts_until_a_person_has_looked(
    bench: StorageBench,
) -> None:
    bench.storage.put(CONTENT)
    bench.end_turn()
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()
    bench.database.close()
    log_of(bench.path).unlink()
    good = bench.path.read_bytes()
    # Not the root of a table, which is looked at when the file is opened.
    damaged = good[:-4096] + b"\x00" * 4096
    bench.path.write_bytes(damaged)
    bench.open()
    with pytest.raises(Quarantined, match=r"is damaged \(database disk image is malformed"):
        bench.storage.list()
    assert isinstance(bench.host.broken, Quarantined)
    bench.database.close()
    with pytest.raises(Quarantined, match="dohost objects restore"):
        bench.open()
    assert bench.path.read_bytes() == damaged
    bench.path.write_bytes(good)
    note_path(bench.path).unlink()
    bench.open()
    assert dict(bench.storage.list()._result) == CONTENT


@pytest.mark.parametrize(
    "meta",
    [
        ObjectMeta(unique_key="app-Room", object_id="cd" * 32, name="alice"),
        ObjectMeta(unique_key="app-Hall", object_id=OBJECT_ID, name="alice"),
    ],
)
def test_a_file_of_another_object(path: Path, meta: ObjectMeta) -> None:
    before = path.read_bytes()
    with pytest.raises(Quarantined, match="belongs to object"):
        read(path, meta)
    assert path.read_bytes() == before


def test_a_value_that_is_no_text_any_more_is_damage(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE _cf_KV SET value = CAST(x'22ff22' AS TEXT) WHERE key = 'key007'")
    connection.close()
    for _ in range(2):
        with pytest.raises(Quarantined, match="UTF-8"):
            read(path)
    assert note_path(path).exists()


def test_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    with pytest.raises(Quarantined, match="is not a file"):
        read(path)


def test_errors_that_user_sql_can_provoke_damage_nothing(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (x)")
    bench.sql("CREATE VIRTUAL TABLE words USING fts5 (x, content = 't')")
    bench.sql("INSERT INTO words (rowid, x) VALUES (1, 'one')")
    with pytest.raises(DohostError, match="SQLITE_CORRUPT_VTAB"):
        bench.sql("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    bench.end_turn()
    bench.reopen()
    assert not note_path(bench.path).exists()
    assert bench.sql("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300))
def test_any_flip_is_an_error_or_harmless_or_beyond_what_sqlite_sees(
    bench: StorageBench, tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    bench.storage.put(CONTENT)
    bench.end_turn()
    bench.database.close()
    chance = random.Random(seed)
    target = chance.choice([bench.path, log_of(bench.path)])
    content = bytearray(target.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    target.write_bytes(content)
    kept = shutil.copytree(bench.path.parent, tmp_path / "kept")
    try:
        read(bench.path)
    except Quarantined:
        assert bench.path.read_bytes() == (kept / bench.path.name).read_bytes()


def test_nothing_is_copied_out_of_a_log_whose_sync_has_failed(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.storage.put(CONTENT)
    bench.end_turn()
    bench.database.sync()
    bench.storage.put("key000", "dropped by the disk")
    bench.end_turn()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dohost.storage.files.os.fdatasync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        bench.database.sync()
    monkeypatch.undo()
    before = bench.path.read_bytes()
    with pytest.raises(OSError, match="Input/output error"):
        bench.database.checkpoint_passive()
    assert bench.path.read_bytes() == before
