"""What a disk did to a simulator: as the host's errors inside, in each binding's own words for Worker code.

A file or a blob raises `StorageFailure` or `TooManyFiles`, whose message is the reason alone; the face of a
binding names its operation. The code goes along, so that an error which nobody handles is answered with 507
where there was no room.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Coroutine
from typing import TypeVar

from dohost.errors import HostError, JsException, StorageFailure, TooManyFiles
from dohost.storage.failures import UNKNOWN_OUTCOME, is_out_of_descriptors

Result = TypeVar("Result")


def failed_file(error: sqlite3.Error | OSError, *, commits: bool = False) -> HostError:
    """Return the reason why work on a file failed; `commits`: it was its COMMIT that did."""
    if isinstance(error, OSError):
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return TooManyFiles("no file descriptor is left")
        return StorageFailure(
            error.strerror or str(error),
            outcome="not-applied",
            is_full=error.errno in (errno.ENOSPC, errno.EDQUOT),
        )
    # sqlite3 gives extended codes; what they extend is their last byte.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN and is_out_of_descriptors():
        return TooManyFiles("no file descriptor is left")
    if commits and code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
        return StorageFailure(f"{error}; {UNKNOWN_OUTCOME}", outcome="unknown")
    return StorageFailure(str(error), outcome="not-applied", is_full=code == sqlite3.SQLITE_FULL)


def is_unknown(error: BaseException) -> bool:
    """Whether what failed so may be there after a restart: then nothing that it needs may go."""
    return isinstance(error, StorageFailure) and error.outcome == "unknown"


def telling(
    work: Callable[[], Coroutine[object, object, Result]],
    tell: Callable[[int, str], JsException],
) -> Callable[[], Coroutine[object, object, Result]]:
    """Return `work` with failures of the host as the errors that `tell` makes of status and reason."""

    async def told() -> Result:
        try:
            return await work()
        except HostError as failure:
            raise as_told(failure, tell) from failure

    return told


def as_told(failure: HostError, tell: Callable[[int, str], JsException]) -> JsException:
    """Return what `tell` makes of a failure, with its code."""
    told = tell(failure.status, str(failure))
    told.code = failure.code
    return told
