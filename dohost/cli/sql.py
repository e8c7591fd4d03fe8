"""`dohost sql`: one read-only statement on one object."""

from __future__ import annotations

import csv
import io

import click
import msgspec
from rich.text import Text

from dohost.cli.columns import columns_text
from dohost.cli.console import err
from dohost.cli.local_client import open_objects
from dohost.cli.project import Project, project_options
from dohost.storage.inspection import Blob, Cell, Table

TABLES = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name"


class _Format(msgspec.Struct, frozen=True, kw_only=True):
    is_json: bool
    is_csv: bool


def split_object(text: str) -> tuple[str, str]:
    """Return class and name of `CLASS/NAME`; names may contain slashes. Raises: click.UsageError."""
    class_name, slash, name = text.partition("/")
    if not slash or not class_name or not name:
        raise click.UsageError(f"{text!r} is not CLASS/NAME, such as Counter/visits.")
    return class_name, name


@click.command("sql", epilog='Example: dohost sql Counter/visits "SELECT * FROM _cf_KV"')
@click.argument("target", metavar="CLASS/NAME")
@click.argument("sql", metavar="[SQL]", default=TABLES)
@click.option("--json", "is_json", is_flag=True, help="An array of objects.")
@click.option("--csv", "is_csv", is_flag=True, help="Comma-separated values with a head line.")
@project_options
def command(
    target: str,
    *,
    sql: str,
    is_json: bool,
    is_csv: bool,
    project: Project,
) -> None:
    """Query one object (by name or id), read-only; without SQL its tables are listed."""
    class_name, name = split_object(target)
    answer = open_objects(project).sql(class_name, name, sql)
    _show(answer, _Format(is_json=is_json, is_csv=is_csv))
    if answer.is_cut:
        err().print(Text(f"Only the first {len(answer.rows)} rows are shown; use LIMIT.", "yellow"))


def _show(answer: Table, form: _Format) -> None:
    if form.is_json:
        objects = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        click.echo(msgspec.json.format(msgspec.json.encode(objects), indent=2).decode())
    elif form.is_csv:
        click.echo(csv_text(answer), nl=False)
    else:
        rows = [[cell_text(cell) for cell in row] for row in answer.rows]
        click.echo(columns_text(answer.columns, rows))


def csv_text(answer: Table) -> str:
    """Return the answer as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([[cell_text(cell) for cell in row] for row in answer.rows])
    return buffer.getvalue()


def cell_text(cell: Cell) -> str:
    """Return a value as SQLite's shell writes it; bytes as a hex literal."""
    if cell is None:
        return "NULL"
    return f"x'{cell.hex}'" if isinstance(cell, Blob) else str(cell)
