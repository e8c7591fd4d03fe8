"""Putting an object back to an earlier commit, as one new commit.

The wanted state is built as a database of its own beside the file, checked, and copied into the object's
file by SQLite's backup in one transaction. So a crash leaves either the old state or the restored one,
and the restore itself is part of the history and can be undone.

What is to happen is a small file, `<id>.restore`, that is written durably when the program asks and
acted upon when the object's next instance opens its file, before anything reads it. The restored database
carries the order's text: an order that is found again after a power cut has been carried out.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from dohost.errors import HostError, JsException, StorageFailure
from dohost.storage.bookmark import Position, parse_bookmark
from dohost.storage.connection import open_file
from dohost.storage.durable_file import write_durably
from dohost.storage.failures import message_of
from dohost.storage.history import main_file, opened_history
from dohost.storage.log_file import read_header, signed_time
from dohost.storage.schema import RESTORED, TABLES
from dohost.storage.timeline import LogState, Timeline

_ROLLBACK_JOURNAL = b"\x01\x01"
_COPIED_AT_ONCE = 1 << 20


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a program has asked for: the bookmark to go to, and the one that it was given to undo it."""

    bookmark: str
    undo: str


def order_path(path: Path) -> Path:
    """Return where the order to restore the object file `path` is."""
    return path.with_suffix(".restore")


def order_restore(path: Path, order: RestoreOrder) -> None:
    """Note durably that the next instance begins with another state; replaces an earlier order."""
    write_durably(order_path(path), msgspec.json.encode(order))


def carry_out(path: Path, *, now_s: int) -> None:
    """Carry out the order for the object file `path`, which nobody has open.

    Raises: HostError if the state can't be had any more; then the order is dropped and
    the object is as it was.
    """
    waiting = order_path(path)
    order = msgspec.json.decode(waiting.read_bytes(), type=RestoreOrder)
    try:
        if not _is_done(path, order):
            _restore(path, order, now_s)
    finally:
        waiting.unlink()


def committed_frames(path: Path) -> int:
    """Return how many frames of the log are committed, by a connection of its own."""
    connection = open_file(path)
    try:
        # A connection that has never read does not know that it is in WAL mode.
        connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - runs the query
        return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]
    finally:
        connection.close()


def _is_done(path: Path, order: RestoreOrder) -> bool:
    connection = open_file(path)
    try:
        return bool(
            connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = '_cf_METADATA'").get
            and connection.execute(
                "SELECT count(*) FROM _cf_METADATA WHERE key = ? AND value = ?",
                (RESTORED, order.undo),
            ).get
        )
    finally:
        connection.close()


def _restore(path: Path, order: RestoreOrder, now_s: int) -> None:
    log = LogState(header=read_header(path), frames=committed_frames(path))
    target = path.with_suffix(".restoring")
    with opened_history(path) as history:
        timeline = Timeline(path, history, log)
        try:
            position = timeline.resolve(parse_bookmark(order.bookmark))
        except JsException as error:
            raise HostError(f"{path} was not restored: {error.message}") from error
        try:
            _build(target, path, timeline=timeline, position=position)
            _check_and_mark(target, order, now_s)
            history.note_undo(order.undo, timeline.end.generation, timeline.end.frame)
            _copy_into(path, target)
        except apsw.Error as error:
            raise StorageFailure(
                f"restoring {path} failed: {message_of(error)}", outcome="unknown"
            ) from error
        finally:
            for leftover in (target, target.with_name(f"{target.name}-journal")):
                leftover.unlink(missing_ok=True)


def _build(target: Path, path: Path, *, timeline: Timeline, position: Position) -> None:
    """Write the database as it was at `position` to `target`."""
    with main_file(path) as main, target.open("wb") as built:
        size = main.xFileSize()
        for start in range(0, size, _COPIED_AT_ONCE):
            built.write(main.xRead(min(_COPIED_AT_ONCE, size - start), start))
        page_bytes = int.from_bytes(main.xRead(2, 16), "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        # Backwards to the start of the generation, then forwards in it: later writes win.
        for page, content in timeline.pages_until(position):
            built.seek((page - 1) * page_bytes)
            built.write(content)
        pages = timeline.size_at(position)
        if pages is not None:
            built.truncate(pages * page_bytes)
        built.seek(18)
        built.write(_ROLLBACK_JOURNAL)


def _check_and_mark(target: Path, order: RestoreOrder, now_s: int) -> None:
    connection = apsw.Connection(str(target))
    try:
        verdict = connection.pragma("quick_check")
        if verdict != "ok":
            raise StorageFailure(
                f"the state to restore is damaged and was not used: {verdict}",
                outcome="not-applied",
            )
        # The restore is a commit of now, whenever the restored state was made.
        connection.pragma("user_version", signed_time(now_s))
        connection.execute(TABLES["_cf_METADATA"].replace("TABLE", "TABLE IF NOT EXISTS", 1))
        connection.execute(
            "INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (?, ?)", (RESTORED, order.undo)
        )
    finally:
        connection.close()


def _copy_into(path: Path, source_path: Path) -> None:
    """Replace the content of the object's file in one durable transaction."""
    source = apsw.Connection(str(source_path), flags=apsw.SQLITE_OPEN_READONLY)
    connection = open_file(path)
    try:
        connection.pragma("synchronous", "full")
        with connection.backup("main", source, "main") as backup:
            backup.step()
    finally:
        connection.close()
        source.close()
