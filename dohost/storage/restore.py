"""Putting an object back to an earlier commit, as one new commit.

The wanted state is built as a database of its own beside the file, checked, and copied into the object's
file by SQLite's backup in one transaction. So a crash leaves either the old state or the restored one,
and the restore itself is part of the history and can be undone.

What is to happen is a small file, `<id>.restore`, that is written durably when the program asks and
acted upon when the object's next instance opens its file, before anything reads it. The restored database
carries the order's text: an order that is found again after a power cut has been carried out.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import msgspec

from dohost.errors import HostError, JsException, StorageFailure
from dohost.storage.bookmark import parse_bookmark
from dohost.storage.connection import frames_committed, open_file
from dohost.storage.copies import check, replace_content, write_database
from dohost.storage.directories import beside
from dohost.storage.durable_file import write_durably
from dohost.storage.failures import message_of
from dohost.storage.history import opened_history
from dohost.storage.log_file import read_header, signed_time
from dohost.storage.schema import RESTORED, TABLES
from dohost.storage.timeline import LogState, Timeline

ORDER = ".restore"


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a program has asked for: the bookmark to go to, and the one that it was given to undo it."""

    bookmark: str
    undo: str


def order_path(path: Path) -> Path:
    """Return where the order to restore the object file `path` is."""
    return Path(beside(path, ORDER))


def is_ordered(path: Path) -> bool:
    """Return whether the object file `path` is to begin with another state."""
    return os.access(beside(path, ORDER), os.F_OK)


def order_restore(path: Path, order: RestoreOrder) -> None:
    """Note durably that the next instance begins with another state; replaces an earlier order."""
    write_durably(order_path(path), msgspec.json.encode(order))


def carry_out(path: Path, *, now_s: int) -> None:
    """Carry out the order for the object file `path`, which nobody has open.

    Raises: HostError if the state can't be had any more; then the order is dropped and the object is as it
    was. apsw.Error, OSError, StorageFailure if the disk fails; then the order stands.
    """
    waiting = order_path(path)
    order = msgspec.json.decode(waiting.read_bytes(), type=RestoreOrder)
    if not _is_done(path, order):
        try:
            _restore(path, order, now_s)
        except StorageFailure:
            raise
        except HostError:
            waiting.unlink()
            raise
    waiting.unlink()


def committed_frames(path: Path) -> int:
    """Return how many frames of the log are committed, by a connection of its own."""
    connection = open_file(path)
    try:
        # A connection that has never read does not know that it is in WAL mode.
        connection.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - runs the query
        return frames_committed(connection)
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
            # Backwards to the start of the generation, then forwards in it: later writes win.
            write_database(
                path,
                target,
                timeline.pages_until(position),
                database_pages=timeline.size_at(position),
            )
            _check_and_mark(target, order, now_s)
            history.note_undo(order.undo, timeline.end.generation, timeline.end.frame)
            replace_content(path, target)
        except apsw.Error as error:
            raise StorageFailure(
                f"restoring {path} failed: {message_of(error)}", outcome="unknown"
            ) from error
        finally:
            for leftover in (target, target.with_name(f"{target.name}-journal")):
                leftover.unlink(missing_ok=True)


def _check_and_mark(target: Path, order: RestoreOrder, now_s: int) -> None:
    check(target)
    connection = apsw.Connection(str(target))
    try:
        # The restore is a commit of now, whenever the restored state was made.
        connection.pragma("user_version", signed_time(now_s))
        connection.execute(TABLES["_cf_METADATA"].replace("TABLE", "TABLE IF NOT EXISTS", 1))
        connection.execute(
            "INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (?, ?)", (RESTORED, order.undo)
        )
    finally:
        connection.close()
