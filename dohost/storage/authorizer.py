"""What user SQL may do, and for how long: Cloudflare's allow-lists as one pure decision.

SQLite asks before it compiles each part of a statement. The host's own statements are always allowed:
`Authorizer.is_user` is raised only while user SQL is compiled or stepped (a step may recompile).
Removing the authorizer instead would expire every prepared statement of the connection.
A statement of the user's whose object has used up its processor time is stopped; the host's own, a
ROLLBACK above all, never is. Source: workerd's `util/sqlite.c++`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import apsw

from dohost.errors import JsException

USE_TRANSACTION_API = (
    "To execute a transaction, please use the state.storage.transaction() or "
    "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT "
    "statements. The JavaScript API is safer because it will automatically roll back on "
    "exceptions, and because it interacts correctly with Durable Objects' automatic atomic "
    "write coalescing."
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_MODULES = _words("fts5 fts5vocab rtree rtree_i32")

ALLOWED_FUNCTIONS = _words(
    """abs changes char coalesce concat concat_ws format glob hex if ifnull iif instr
    last_insert_rowid length like likelihood likely lower ltrim max min nullif octet_length printf
    quote random randomblob replace round rtrim sign soundex substr substring total_changes trim
    typeof unhex unicode unlikely upper zeroblob

    date time datetime julianday unixepoch strftime timediff current_date current_time
    current_timestamp

    avg count group_concat string_agg sum total
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value
    nth_value

    acos acosh asin asinh atan atan2 atanh ceil cos cosh degrees exp floor ln log log2 mod pi pow
    radians sin sinh sqrt tan tanh trunc

    json json_array json_array_length json_error_position json_extract json_insert json_object
    json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid
    json_group_array json_group_object json_each json_tree jsonb jsonb_array jsonb_extract
    jsonb_insert jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set jsonb_group_array
    jsonb_group_object jsonb_each jsonb_tree -> ->>

    match highlight bm25 snippet rtreecheck

    sqlite_rename_table sqlite_rename_column sqlite_rename_parent sqlite_rename_test
    sqlite_rename_quotefix sqlite_drop_column sqlite_drop_constraint sqlite_find_constraint
    sqlite_add_constraint sqlite_fail"""
)

PRAGMAS_WITHOUT_ARGUMENT = _words("data_version page_size")
PRAGMAS_OF_A_BOOLEAN = _words(
    """case_sensitive_like foreign_keys defer_foreign_keys ignore_check_constraints
    legacy_alter_table recursive_triggers reverse_unordered_selects"""
)
PRAGMAS_OF_AN_OBJECT = _words(
    "foreign_key_list index_info index_list index_xinfo table_info table_xinfo"
)
BOOLEANS = _words("true false yes no on off 1 0")
INTEGER = re.compile(r"[+-]?(\d+|0[xX][0-9a-fA-F]+)")

# Tables that SQLite's build has without CREATE and Cloudflare's build has not.
FOREIGN_TABLES = frozenset(("dbstat", "sqlite_dbpage", "bytecode", "tables_used", "carray"))

_OBJECT_ACTIONS = frozenset(
    (
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_VTABLE,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_UPDATE,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_ALTER_TABLE,
    )
)
_ALWAYS = frozenset((apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_ANALYZE))
_TRANSACTIONS = frozenset((apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT))


# A few milliseconds of work.
_STEPS_BETWEEN_LOOKS = 100_000


class Authorizer:
    """The callbacks of one connection; `is_user` says whose statement is compiled or stepped.

    `is_over`: whether the code that runs has used up its processor time; whoever limits that sets it.
    """

    __slots__ = ("is_over", "is_user")

    def __init__(self) -> None:
        self.is_user = False
        self.is_over: Callable[[], bool] = bool

    def guard(self, connection: apsw.Connection) -> None:
        """Let SQLite ask here about `connection`."""
        connection.authorizer = self
        connection.set_progress_handler(self._must_stop, _STEPS_BETWEEN_LOOKS)

    def _must_stop(self) -> bool:
        return self.is_user and self.is_over()

    def __call__(
        self,
        action: int,
        first: str | None,
        second: str | None,
        schema: str | None,
        within: str | None,
    ) -> int:
        """Answer SQLite; raises where the reason deserves more words than "not authorized"."""
        if not self.is_user or is_allowed(action, first, second):
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY


def is_allowed(action: int, first: str | None, second: str | None) -> bool:
    """Decide about one action of user SQL. Raises JsException where Cloudflare says more than no."""
    if action == apsw.SQLITE_READ:
        if first in FOREIGN_TABLES:
            raise JsException(f"no such table: {first}: SQLITE_ERROR")
        return not is_internal(first)
    if action in _ALWAYS:
        return True
    if action in _OBJECT_ACTIONS:
        return not is_internal(first) and not is_internal(second)
    if action == apsw.SQLITE_FUNCTION:
        return second is not None and second.lower() in ALLOWED_FUNCTIONS
    if action == apsw.SQLITE_PRAGMA:
        return is_pragma_allowed((first or "").lower(), second)
    if action == apsw.SQLITE_CREATE_VTABLE:
        return not is_internal(first) and (second or "").lower() in ALLOWED_MODULES
    if action in _TRANSACTIONS:
        raise JsException(USE_TRANSACTION_API)
    return False


def is_pragma_allowed(name: str, argument: str | None) -> bool:
    """Decide about one PRAGMA, its name in lower case."""
    if name == "table_list":
        return True
    if argument is None:
        return name in PRAGMAS_WITHOUT_ARGUMENT | PRAGMAS_OF_A_BOOLEAN or name in (
            "foreign_key_check",
            "quick_check",
            "optimize",
        )
    if name in PRAGMAS_OF_A_BOOLEAN:
        return argument.strip().lower() in BOOLEANS
    if name == "optimize":
        return INTEGER.fullmatch(argument) is not None
    if name in PRAGMAS_OF_AN_OBJECT or name in ("foreign_key_check", "quick_check"):
        return not is_internal(argument)
    return False


def is_internal(name: str | None) -> bool:
    """Whether a name belongs to the host: user SQL never sees `_cf_` in any case of letters."""
    return name is not None and name[:4].lower() == "_cf_"


_RENAME = re.compile(r"\balter\b.*\brename\b.*_cf_", re.IGNORECASE | re.DOTALL)


def renames_to_internal(statement: str) -> bool:
    """Whether a statement may rename something to a `_cf_` name: SQLite never asks about new names."""
    return _RENAME.search(statement) is not None
