"""SQLite's errors in the words that Worker code matches on.

apsw raises one class per result code; Cloudflare raises one plain `Error` whose text ends in the
code's name: `<message>[ at offset N]: SQLITE_CODE[ (extended: SQLITE_X_Y)]`. This file is the only
place that knows both.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw

from dohost.errors import HostError, JsException, Quarantined, StorageFailure, TooManyFiles

CONSTRAINTS_VIOLATED = (
    "Durable Object was reset and rolled back to its last known good state because the application "
    "left the database in a state where constraints were violated: "
)
CPU_EXCEEDED = "Durable Object exceeded its CPU time limit and was reset."
WRONG_BINDINGS = "Wrong number of parameter bindings for SQL query."
# What fails without a statement, as a copy of a whole database does, has no text of SQLite's.
_NO_TEXT = "not an error"
_TEXTS: dict[type[apsw.Error], str] = {
    apsw.FullError: "database or disk is full",
    apsw.IOError: "disk I/O error",
    apsw.BusyError: "database is locked",
}
UNKNOWN_OUTCOME = "whether it was kept is unknown"


def message_of(error: apsw.Error) -> str:
    """Return Cloudflare's text for an error of SQLite."""
    text = str(error)
    if text == _NO_TEXT:
        text = _TEXTS.get(type(error), text)
    # apsw's own errors (a closed cursor, a wrong call) have no code of SQLite's.
    result: int | None = getattr(error, "result", None)
    if result is None:
        return text
    offset: int = getattr(error, "error_offset", -1)
    if offset >= 0:
        text += f" at offset {offset}"
    text += f": {apsw.mapping_result_codes[result]}"
    extended = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", result))
    return f"{text} (extended: {extended})" if extended is not None else text


def translate(error: apsw.Error) -> JsException:
    """Return the error that Worker code sees for an error of SQLite."""
    if isinstance(error, apsw.BindingsError):
        return JsException(WRONG_BINDINGS)
    if isinstance(error, apsw.InterruptError):
        return JsException(CPU_EXCEEDED)
    failure = JsException(message_of(error))
    if isinstance(error, apsw.FullError):
        failure.code = "storage-full"
    elif isinstance(error, apsw.IOError | apsw.CantOpenError):
        failure.code = "storage-failed"
    return failure


# Itself, its log, the log's index, and what syncs a new one.
_FILES_OF_AN_OBJECT = 5
# None of them says anything about the content of a file.
_MAY_PASS = (
    apsw.IOError,
    apsw.FullError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
)


def failed_to_open(path: Path, error: apsw.Error) -> HostError:
    """Return why a file can't be used now: the disk or the process has a problem, or it is damaged."""
    if isinstance(error, apsw.CantOpenError) and is_out_of_descriptors():
        return TooManyFiles(f"no file descriptor left to open {path}")
    if isinstance(error, _MAY_PASS):
        return StorageFailure(
            f"{path} can't be opened: {message_of(error)}",
            outcome="not-applied",
            is_full=isinstance(error, apsw.FullError),
        )
    return Quarantined(f"{path} is damaged: {message_of(error)}")


def failed_to_read(path: Path, error: OSError) -> HostError:
    """Return why the system let nobody look at a file."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TooManyFiles(f"no file descriptor left to open {path}")
    return StorageFailure(f"{path} can't be read: {error.strerror}", outcome="not-applied")


def is_out_of_descriptors() -> bool:
    """Whether the process or machine can't open as many files as an object has.

    Whoever could not open the last of them has closed the first ones again.
    """
    opened: list[int] = []
    try:
        for _ in range(_FILES_OF_AN_OBJECT):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401 - closed below
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def failed_to_begin(path: Path, error: apsw.Error) -> StorageFailure:
    """Return why no transaction could be opened; nothing has been written."""
    return StorageFailure(
        f"{path} can't be written: {message_of(error)}",
        outcome="not-applied",
        is_full=isinstance(error, apsw.FullError),
    )


def failed_to_checkpoint(path: Path, error: apsw.Error) -> StorageFailure:
    """Return why a log could not be copied into its file; it keeps what was not."""
    return StorageFailure(
        f"the log of {path} can't be copied: {message_of(error)}", outcome="not-applied"
    )


def failed_to_commit(error: apsw.Error) -> JsException | StorageFailure:
    """Return what is known of a COMMIT that failed and was rolled back; the object is reset by it."""
    if isinstance(error, apsw.ConstraintError):
        failure = JsException(CONSTRAINTS_VIOLATED + message_of(error))
        failure.durableObjectReset = True
        return failure
    if isinstance(error, apsw.FullError):
        return StorageFailure(message_of(error), outcome="not-applied", is_full=True)
    return StorageFailure(message_of(error), outcome="unknown")
