"""Opening an object's file after whatever happened to it.

A crash in the middle of a file's creation leaves nothing, a part of it, or a log without it. Such a file
has never acknowledged anything, which two facts prove together: it is not recorded (that happens
after the first sync), and it holds nothing but pieces of an empty file. It is set aside then, and the
object begins anew; every other file that can't be trusted is quarantined, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dohost.errors import JsException, Quarantined, StorageFailure, TooManyFiles
from dohost.storage.database import Database
from dohost.storage.files import set_aside
from dohost.storage.schema import image, is_torn_image


def open_object(
    path: Path,
    make: Callable[[], Database],
    *,
    is_recorded: Callable[[], bool],
    make_room: Callable[[], bool] = bool,
    before: Callable[[], None] | None = None,
) -> Database:
    """Open the file of one object by `make`, or note that it has none; do `before` before that.

    `make_room` closes files of others when no descriptor is left, and says whether it did (`bool`: never).
    Raises: Quarantined, StorageFailure, TooManyFiles.
    """
    try:
        database = _opened(path, make, is_recorded, before)
    except TooManyFiles:
        if not make_room():
            raise
        database = _opened(path, make, is_recorded, before)
    database.make_room = make_room
    return database


def _opened(
    path: Path,
    make: Callable[[], Database],
    is_recorded: Callable[[], bool],
    before: Callable[[], None] | None,
) -> Database:
    try:
        if before is not None:
            before()
        return make()
    except Quarantined:
        if not _is_unfinished(path) or is_recorded():
            raise
        set_aside(path)
        database = make()
        database.is_begun_anew = True
        return database
    except JsException as error:
        raise StorageFailure(f"{path} can't be read: {error}", outcome="not-applied") from error


def is_torn(path: Path) -> bool:
    """Return whether a file lacks a part of the image that it was made from: it was never durable."""
    try:
        content = path.read_bytes() if path.stat().st_size <= len(image()) else None
    except OSError:
        return False
    return content is not None and content != image() and is_torn_image(content)


def _is_unfinished(path: Path) -> bool:
    """Return whether a file that nobody has open looks as a crash leaves one that was being created."""
    try:
        return is_torn_image(path.read_bytes())
    except FileNotFoundError:
        return True
    except OSError:
        return False
