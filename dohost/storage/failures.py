"""SQLite's errors in the words that Worker code matches on.

apsw raises one class per result code; Cloudflare raises one plain `Error` whose text ends in the
code's name: `<message>[ at offset N]: SQLITE_CODE[ (extended: SQLITE_X_Y)]`. This file is the only
place that knows both.
"""

from __future__ import annotations

import apsw

from dohost.errors import JsException

CONSTRAINTS_VIOLATED = (
    "Durable Object was reset and rolled back to its last known good state because the application "
    "left the database in a state where constraints were violated: "
)
WRONG_BINDINGS = "Wrong number of parameter bindings for SQL query."


def message_of(error: apsw.Error) -> str:
    """Return Cloudflare's text for an error of SQLite."""
    text = str(error)
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
    return JsException(message_of(error))


def constraints_violated(error: apsw.Error) -> JsException:
    """Return the error of a COMMIT that found violated constraints; the object is reset by it."""
    failure = JsException(CONSTRAINTS_VIOLATED + message_of(error))
    failure.durableObjectReset = True
    return failure
