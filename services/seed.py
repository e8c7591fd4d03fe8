"""Create a table and fill it with sample rows, once in an object's life."""

from __future__ import annotations

from collections.abc import Iterable

from workers import DurableObject

TABLE_EXISTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


def create_once(
    service: DurableObject, table: str, *, schema: str, rows: Iterable[tuple[object, ...]] = ()
) -> None:
    """Create `table` and insert `rows`, unless it exists; rows that users delete stay deleted."""
    sql = service.ctx.storage.sql
    if sql.exec(TABLE_EXISTS, table).toArray():
        return

    def create() -> None:
        sql.exec(schema)
        for row in rows:
            marks = ", ".join("?" for _ in row)
            sql.exec(f"INSERT INTO {table} VALUES ({marks})", *row)

    service.ctx.storage.transactionSync(create)
