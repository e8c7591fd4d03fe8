"""`dohost objects ls`: which objects exist."""

from __future__ import annotations

import datetime

import click
import msgspec

from dohost.cli.columns import columns_text
from dohost.cli.local_client import open_objects
from dohost.cli.project import Project, project_options
from dohost.runtime.inspection import ObjectInfo

_KIB = 1024


@click.group("objects", epilog="Example: dohost objects ls Counter")
def command() -> None:
    """List Durable Objects, beside a running server or without one."""


@command.command("ls", epilog="Example: dohost objects ls Counter --json")
@click.argument("class_name", metavar="[CLASS]", required=False)
@click.option("--json", "is_json", is_flag=True, help="One JSON array.")
@project_options
def list_objects(
    class_name: str | None,
    *,
    is_json: bool,
    project: Project,
) -> None:
    """List the objects that have stored something, of all classes or of CLASS."""
    found = open_objects(project).objects(class_name)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif not found:
        click.echo("No objects.")
    else:
        click.echo(objects_text(found))


def objects_text(found: list[ObjectInfo]) -> str:
    """Return the listing as a table."""
    rows = [
        (
            item.class_name,
            item.name or "",
            item.object_id,
            size_text(item.size_bytes),
            "" if item.alarm_ms is None else alarm_text(item.alarm_ms),
            item.problem or ("live" if item.is_live else ""),
        )
        for item in found
    ]
    return columns_text(("Class", "Name", "Id", "Size", "Alarm", ""), rows)


def size_text(size_bytes: int) -> str:
    """Return a size as people read it."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < _KIB or unit == "TiB":
            break
        size /= _KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def alarm_text(alarm_ms: int) -> str:
    """Return the due time in UTC."""
    due = datetime.datetime.fromtimestamp(alarm_ms / 1000, tz=datetime.UTC)
    return due.strftime("%Y-%m-%d %H:%M:%SZ")
