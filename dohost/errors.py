"""One tree of errors.

The class says whose fault it is. `CallerError`: the request or the command was wrong. `UserCodeError`:
the program that we run was wrong. `HostError`: we, the disk or the machine failed. `JsException` is
the shape in which Worker code sees any error that crossed an object's boundary or came out of the
storage API: on Cloudflare these are JavaScript errors, and programs match on their messages.
`STATUS` is the one table from error code to HTTP status.
"""

from __future__ import annotations

from typing import Literal

STATUS = {
    "bad-request": 400,
    "config": 500,
    "data-dir-locked": 503,
    "code-not-loaded": 500,
    "handler-missing": 500,
    "object-quarantined": 500,
    "overloaded": 503,
    "storage-full": 507,
    "storage-failed": 503,
    "outcome-unknown": 500,
    "too-many-files": 503,
    "shutting-down": 503,
    "internal": 500,
}


class DohostError(Exception):
    """Root of every error that dohost raises on purpose.

    The flags are Cloudflare's, for whoever called an object: `remote` (raised on the other side of a
    call), `retryable` (the call may not have been delivered), `overloaded` (do not retry),
    `durableObjectReset` (the failure reset the object), `durableObjectId` (hex id of the object it
    came from).
    """

    code = "internal"
    remote = False
    retryable = False
    overloaded = False
    durableObjectReset = False
    durableObjectId: str | None = None

    @property
    def status(self) -> int:
        """HTTP status for this error, from the one table."""
        return STATUS[self.code]


class CallerError(DohostError):
    """The request or command line was wrong; the message says what to send instead."""

    code = "bad-request"


class ConfigError(CallerError):
    """The configuration can't be used; `problems` holds every finding, one line or block each.

    `warnings` are the lesser findings of the same run: an unknown key often explains a missing one.
    """

    code = "config"

    def __init__(self, problems: tuple[str, ...], *, warnings: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.warnings = warnings


class UserCodeError(DohostError):
    """Worker code failed to load or lacks what the configuration names."""

    code = "code-not-loaded"


class HandlerMissing(UserCodeError):
    """The Worker has no handler for this kind of event."""

    code = "handler-missing"


class HostError(DohostError):
    """The host, its disk or the machine failed."""


class DataDirLocked(HostError):
    """Another process owns the data directory; the message names it."""

    code = "data-dir-locked"


class Quarantined(HostError):
    """An object's file can't be trusted; it is left untouched and the object answers with this."""

    code = "object-quarantined"


class Overloaded(HostError):
    """A queue or a cap of the host is full; try again later."""

    code = "overloaded"
    overloaded = True


class TooManyFiles(HostError):
    """The process has no file descriptor left; existing objects keep working."""

    code = "too-many-files"


class ShuttingDown(HostError):
    """The host drains and takes no new events."""

    code = "shutting-down"
    retryable = True


class StorageFailure(HostError):
    """The disk failed. `outcome` says whether the writes can still appear after a restart.

    "not-applied": proven gone (`is_full`: for lack of room). "unknown": an I/O error after which SQLite's
    log may or may not hold the transaction, so nobody may be told either way, nor to try again blindly.
    """

    code = "storage-failed"
    durableObjectReset = True

    def __init__(
        self,
        message: str,
        *,
        outcome: Literal["unknown", "not-applied"],
        is_full: bool = False,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        if outcome == "unknown":
            self.code = "outcome-unknown"
        elif is_full:
            self.code = "storage-full"

    def of_longer_call(self) -> StorageFailure:
        """Return what a call hears that had begun before an earlier commit than the failed one.

        The failed one is proven gone; what this call wrote before is stored all the same.
        """
        if self.outcome == "unknown":
            return self
        failure = StorageFailure(str(self), outcome="unknown")
        failure.__cause__ = self
        return failure


class JsException(DohostError):
    """An error as Worker code sees it: `str()` is `"<name>: <message>"`."""

    name = "Error"

    def __init__(self, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if name is not None:
            self.name = name

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class JsTypeError(JsException, TypeError):
    """A JavaScript TypeError; also a Python TypeError, for code that runs here only."""

    name = "TypeError"


class JsRangeError(JsException, ValueError):
    """A JavaScript RangeError."""

    name = "RangeError"


class DataCloneError(JsException, TypeError):
    """A value that structured clone refuses."""

    name = "DataCloneError"


class AbortError(JsException):
    """A JavaScript AbortError."""

    name = "AbortError"


class InvalidAccessError(JsException, ValueError):
    """A JavaScript InvalidAccessError, as WebSocket close codes raise it."""

    name = "InvalidAccessError"
