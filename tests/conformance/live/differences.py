"""The known differences between Cloudflare's runtime and ours, each with its reason.

This table and the one in the README ("What differs from Cloudflare") are kept in step by a test: `readme`
is the beginning of the README's line that tells users of it. A difference that is not in here is a bug.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec

from tests.conformance.live.neutral import Encoded, comparable, is_error
from tests.conformance.live.scenario import Operation

Matches = Callable[[Operation, Encoded, Encoded], bool]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: how to recognise it, why it is there, and the README's line about it.

    `changes_state`: one side did something that the other did not, so nothing after it compares.
    """

    name: str
    reason: str
    readme: str
    matches: Matches
    changes_state: bool = False


def message(answer: Encoded) -> str:
    """Return the message of an answer that is an error, else nothing."""
    if not is_error(answer):
        return ""
    return str(answer["$error"]["message"])  # type: ignore[index,call-overload]  # an error's form


def text_of(operation: Operation) -> str:
    """Return the SQL text of an operation, else nothing."""
    position = {"exec": 1, "open": 2}.get(str(operation[0]))
    return "" if position is None else str(operation[position])


def _without_order(answer: Encoded) -> Encoded:
    """Return an answer whose dicts are in one order, whatever order they came in."""
    if isinstance(answer, list):
        return [_without_order(each) for each in answer]
    if isinstance(answer, dict):
        if "$dict" in answer:
            pairs = answer["$dict"]
            assert isinstance(pairs, list), "a dict is written as a list of pairs"
            return {"$dict": sorted([_without_order(each) for each in pairs], key=repr)}
        return {tag: _without_order(content) for tag, content in answer.items()}
    return answer


def _is_key_order(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    has_number = re.search(r'\["\d[^"]*", ', json.dumps(theirs)) is not None
    their, our = comparable(theirs), comparable(ours)
    return has_number and _without_order(their) == _without_order(our)


def _is_counts(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return (
        operation[-1] == "counts"
        and isinstance(theirs, list)
        and isinstance(ours, list)
        and theirs[0] == ours[0]
    )


def _is_size(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return operation == ["size"] and isinstance(ours, int) and ours % 4096 == 0


def _is_function(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return "could not be cloned" in message(theirs) and "could not be cloned" in message(ours)


def _is_internal_table(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    text = text_of(operation).lower()
    is_refusal = "_cf_" in text and is_error(theirs) and is_error(ours)
    return is_refusal or "pragma optimize" in text


def _is_remote_flag(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    if operation[0] != "event" or not is_error(theirs) or not is_error(ours):
        return False
    flags = [set(each["$error"]["flags"]) for each in (theirs, ours)]  # type: ignore[index,call-overload]  # an error's form
    return message(theirs) == message(ours) and flags[0] < flags[1]


def _is_missing_function(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    # Where the text has a second mistake the other side tells that one.
    return message(ours).startswith("not authorized to use function:") and is_error(theirs)


def _is_second_error(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    if text_of(operation).lower().startswith("vacuum"):
        return is_error(theirs) and is_error(ours)
    is_over = "on rolled back transaction" in message(ours) or "already committed" in message(ours)
    return is_over and (is_error(theirs) or theirs == {"$dict": []})


def _is_locked(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    is_held = "table is locked" in message(theirs) or "executed once at a time" in message(theirs)
    return is_held and message(theirs) != message(ours)


def _is_internal_error(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return message(theirs).startswith("internal error; reference")


def _is_not_utf8(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return "is not UTF-8" in message(ours)


def _is_empty_iterator(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    is_invalid = ["iterator was invalidated" in message(each) for each in (theirs, ours)]
    # Ours may go on where it found nothing; theirs also where the table of keys was undone.
    return operation[0] == "step" and (is_invalid[1] or (is_invalid[0] and ours == ["done"]))


def _is_seen_twice(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    if operation[0] != "step" or not isinstance(theirs, list) or not isinstance(ours, list):
        return False
    sides = [[comparable(each) for each in side if each != "done"] for side in (theirs, ours)]
    # Both show the same entries in the same order but for one, and may be cut off or end after it.
    return any(
        (more[:at] + more[at + 1 :])[: len(less)] in (less, less[:-1])
        for less, more in (sides, reversed(sides))
        for at in range(len(more))
    )


def _is_delete_after_rollback(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    refusal = "Cannot call deleteAll() within a transaction"
    return (
        operation[1:3] == ["storage", "deleteAll"] and message(theirs) == refusal and ours is None
    )


def _is_aborted(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return any("abort due to ROLLBACK" in message(each) for each in (theirs, ours))


def _is_undone_index(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return message(ours) == "SQL logic error: SQLITE_ERROR" and "fts5" in json.dumps(operation)


def _is_deleted(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return "because the database was deleted" in message(theirs) and not is_error(ours)


def _is_offset(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    their, our = (re.sub(r" at offset \d+", "", message(each)) for each in (theirs, ours))
    return their == our != ""


def _is_data_version(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    return "data_version" in json.dumps([theirs, ours]) and not is_error(theirs)


def _is_counter(operation: Operation, theirs: Encoded, ours: Encoded) -> bool:
    text = text_of(operation)
    is_asked = "last_insert_rowid()" in text or "changes()" in text
    return is_asked and not is_error(theirs) and not is_error(ours)


KNOWN: tuple[Known, ...] = (
    Known(
        name="order of keys",
        reason="a JavaScript object lists integer keys first and ascending; a dict keeps its order",
        readme="dicts keep the order of their keys",
        matches=_is_key_order,
    ),
    Known(
        name="rowsRead, rowsWritten",
        reason="Cloudflare counts them in a patched SQLite",
        readme="`rowsRead`, `rowsWritten` are approximations",
        matches=_is_counts,
    ),
    Known(
        name="databaseSize",
        reason="the tables of the host are other tables here, and their pages are left out",
        readme="`databaseSize` leaves out",
        matches=_is_size,
    ),
    Known(
        name="name of a refused value",
        reason="V8 prints the source of a function; the Python SDK's proxy is an object",
        readme="a value that can't be stored is named",
        matches=_is_function,
    ),
    Known(
        name="tables of the host",
        reason="Cloudflare makes them when they are needed, and has none called _cf_META",
        readme="the tables `_cf_KV`",
        matches=_is_internal_table,
    ),
    Known(
        name="functions outside the list",
        reason="apsw's build of SQLite has functions that Cloudflare's has not; both refuse them",
        readme="a function that Cloudflare's SQLite lacks",
        matches=_is_missing_function,
    ),
    Known(
        name="counters of the connection",
        reason="the host writes its alarm at once here, at the commit there",
        readme="`last_insert_rowid()` and `changes()`",
        matches=_is_counter,
        changes_state=True,
    ),
    Known(
        name="two errors",
        reason="arguments of an ended transaction are looked at after its state",
        readme="of two mistakes in one call",
        matches=_is_second_error,
    ),
    Known(
        name="locks of forgotten cursors",
        reason="JavaScript's collector frees a cursor when it likes, reference counting at once",
        readme="a cursor that nobody holds",
        matches=_is_locked,
        changes_state=True,
    ),
    Known(
        name="unread RETURNING at a commit",
        reason="workerd can't commit over it; here a statement that writes runs to its end",
        readme="`INSERT … RETURNING` whose rows nobody reads",
        matches=_is_internal_error,
        changes_state=True,
    ),
    Known(
        name="an iterator without rows",
        reason="one that found nothing is at its end here; there it depends on when the table of keys was made",
        readme="a `kv.list()` that found nothing",
        matches=_is_empty_iterator,
    ),
    Known(
        name="an entry seen twice",
        reason="workerd replaces a row, we update it: one or the other moves behind the cursor",
        readme="an entry that is put while `kv.list()` stands on it",
        matches=_is_seen_twice,
        changes_state=True,
    ),
    Known(
        name="deleteAll after a rollback",
        reason="a transaction that was rolled back is over at once here, and after a turn there",
        readme="`deleteAll()` is allowed at once",
        matches=_is_delete_after_rollback,
        changes_state=True,
    ),
    Known(
        name="an index undone in the transaction that made it",
        reason="SQLite's COMMIT fails then (3.40 and 3.54 alone do, too); Cloudflare's does not",
        readme="an FTS5 table that is made, filled and undone",
        matches=_is_undone_index,
        changes_state=True,
    ),
    Known(
        name="cursors over a rollback",
        reason="the two versions of SQLite do not abort the same reads",
        readme="a cursor that is open over a rollback",
        matches=_is_aborted,
        changes_state=True,
    ),
    Known(
        name="the last row after deleteAll",
        reason="a row that was read ahead is here already; there it is thrown away with its cursor",
        readme="a cursor gives the row that it had read ahead",
        matches=_is_deleted,
    ),
    Known(
        name="position of an error",
        reason="another version of SQLite knows it for other errors",
        readme="the position in an error of SQL",
        matches=_is_offset,
    ),
    Known(
        name="data_version",
        reason="an object without a file is read from an empty database in memory",
        readme="`PRAGMA data_version` starts",
        matches=_is_data_version,
    ),
    Known(
        name="text that is not UTF-8",
        reason="apsw refuses to decode it",
        readme="text that is not UTF-8",
        matches=_is_not_utf8,
        changes_state=True,
    ),
    Known(
        name="flags of a reset",
        reason="every error that crosses a call is remote here, and every error of a reset says so",
        readme="errors of a reset object are always marked",
        matches=_is_remote_flag,
    ),
)
