"""What the callback of `transaction()` holds: the storage's operations, for as long as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from workers.values import JsDict

from dohost.errors import JsException, JsTypeError
from dohost.storage.arguments import (
    UNDEFINED,
    UNDEFINED_VALUE,
    Options,
    check_options,
    milliseconds_of,
)
from dohost.storage.awaitable import Completed
from dohost.storage.transaction import NESTED_RUNNING, Savepoint

if TYPE_CHECKING:
    from dohost.storage.storage import DurableObjectStorage

OWNER = "DurableObjectTransaction"
DELETE_ALL_IN_TRANSACTION = "Cannot call deleteAll() within a transaction"


class DurableObjectTransaction:
    """What the callback of `transaction` gets: the storage's operations, and `rollback`."""

    def __init__(self, storage: DurableObjectStorage, savepoint: Savepoint) -> None:
        self._storage = storage
        self._savepoint = savepoint
        self._level = storage.transactions.explicit_depth
        self.is_rolled_back = False
        self.is_over = False

    def __repr__(self) -> str:
        status = "over" if self.is_over else "rolled back" if self.is_rolled_back else "open"
        return f"<DurableObjectTransaction {status}>"

    def get(
        self, key: str | list[str], options: Options | None = None, /, **named: object
    ) -> Completed[object]:
        """As `storage.get`."""
        return self._checked("get", options).get(key, options, **named)

    def put(
        self,
        key: str | Mapping[str, object],
        value: object = UNDEFINED,
        options: Options | None = None,
        /,
        **named: object,
    ) -> Completed[None]:
        """As `storage.put`."""
        if value is UNDEFINED and not isinstance(key, Mapping):
            raise JsTypeError(UNDEFINED_VALUE)
        return self._checked("put", options).put(key, value, options, **named)

    def delete(
        self, key: str | list[str], options: Options | None = None, /, **named: object
    ) -> Completed[bool] | Completed[int]:
        """As `storage.delete`."""
        return self._checked("delete", options).delete(key, options, **named)

    def list(self, options: Options | None = None, /, **named: object) -> Completed[JsDict]:
        """As `storage.list`."""
        return self._checked("list", options).list(options, **named)

    def deleteAll(self, options: Options | None = None, /, **named: object) -> Completed[None]:
        """Refuse: a transaction can't delete everything."""
        check_options(options, OWNER, "deleteAll")
        raise JsException(DELETE_ALL_IN_TRANSACTION)

    def getAlarm(self, options: Options | None = None, /, **named: object) -> Completed[int | None]:
        """As `storage.getAlarm`."""
        return self._checked("getAlarm", options).getAlarm(options, **named)

    def setAlarm(
        self, due: int | float | datetime, options: Options | None = None, /, **named: object
    ) -> Completed[None]:
        """As `storage.setAlarm`."""
        milliseconds_of(due, OWNER)
        return self._checked("setAlarm", options).setAlarm(due, options, **named)

    def deleteAlarm(self, options: Options | None = None, /, **named: object) -> Completed[None]:
        """As `storage.deleteAlarm`."""
        return self._checked("deleteAlarm", options).deleteAlarm(options, **named)

    def rollback(self) -> None:
        """Undo what the transaction wrote; after that it takes no more operations. Idempotent."""
        if self.is_rolled_back:
            return
        transactions = self._checked("rollback").transactions
        if transactions.explicit_depth > self._level:
            raise JsException(NESTED_RUNNING)
        transactions.go_back(self._savepoint)
        self.is_rolled_back = self._savepoint.is_rolled_back = True

    def _checked(self, operation: str, options: object = None) -> DurableObjectStorage:
        if options is not None and options is not UNDEFINED:
            check_options(options, OWNER, operation)
        if self.is_rolled_back:
            raise JsException(f"Cannot {operation}() on rolled back transaction")
        if self.is_over:
            raise JsException(
                f"Cannot call {operation}() on transaction that has already committed: "
                "did you move `txn` outside of the closure?"
            )
        return self._storage
