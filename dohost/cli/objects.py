"""`dohost objects`: which objects exist, one of them from near, and work on their files.

Everything works beside a running server and without one. What would overwrite or delete says so first.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from dohost.cli.backup import backup, restore
from dohost.cli.columns import columns_text, size_text
from dohost.cli.console import json_option, print_json
from dohost.cli.local_client import asking, open_objects
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object
from dohost.runtime.inspection import ObjectDetails, ObjectInfo
from dohost.storage.copies import Copied


@click.group("objects", epilog="Example: dohost objects ls Counter")
def command() -> None:
    """List Durable Objects and work on them, beside a running server or without one."""


@command.command("ls", epilog="Example: dohost objects ls Counter --json")
@click.argument("class_name", metavar="[CLASS]", required=False)
@json_option
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
        print_json(found)
    elif not found:
        click.echo("No objects.")
    else:
        click.echo(objects_text(found))


@command.command("show", epilog="Example: dohost objects show Counter/visits")
@click.argument("target", metavar="CLASS/NAME")
@json_option
@project_options
def show(target: str, *, is_json: bool, project: Project) -> int:
    """Show one object, by name or id: its file, size, keys, tables, alarm and history."""
    class_name, name = split_object(target)
    found = open_objects(project).show(class_name, name)
    if is_json:
        print_json(found)
    else:
        click.echo(details_text(found))
    return 1 if found.info.problem is not None else 0


@command.command("rm", epilog="Example: dohost objects rm Counter/visits --yes")
@click.argument("targets", metavar="CLASS/NAME…", nargs=-1, required=True)
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Don't ask.")
@json_option
@project_options
def remove(targets: tuple[str, ...], *, is_sure: bool, is_json: bool, project: Project) -> None:
    """Delete objects with their data, past and alarm, for good."""
    named = [split_object(target) for target in targets]
    if not is_sure:
        click.confirm(f"Delete {', '.join(targets)} for good?", abort=True, err=True)
    with asking(project) as asked:
        for class_name, name in named:
            asked.ask("remove", {"class_name": class_name, "name": name}, type(None))
            if not is_json:
                click.echo(f"Deleted {class_name}/{name}.")
    if is_json:
        print_json({"deleted": targets})


@command.command("export", epilog="Example: dohost objects export Counter/visits visits.sqlite")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@project_options
def export(target: str, *, file: Path, is_json: bool, project: Project) -> None:
    """Copy the committed state of one object to FILE, an ordinary SQLite database.

    Its facets, if it has any, become files beside it.
    """
    class_name, name = split_object(target)
    arguments = {"class_name": class_name, "name": name, "file": str(file.absolute())}
    with asking(project) as asked:
        copied = asked.ask("export", arguments, Copied)
    if is_json:
        print_json(copied)
    else:
        click.echo(f"Exported {target} to {file} ({size_text(copied.size_bytes)}).")


@command.command("import", epilog="Example: dohost objects import visits.sqlite Counter/visits")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("target", metavar="CLASS/NAME")
@click.option("--replace", "replaces", is_flag=True, help="Replace the object if it exists.")
@json_option
@project_options
def import_file(
    file: Path, *, target: str, replaces: bool, is_json: bool, project: Project
) -> None:
    """Make a SQLite database the content of one object; a replaced one keeps its history.

    The facets of an exported object lie beside FILE and come with it.
    """
    class_name, name = split_object(target)
    arguments = {
        "class_name": class_name,
        "name": name,
        "file": str(file.absolute()),
        "replaces": replaces,
    }
    with asking(project) as asked:
        asked.ask("import", arguments, type(None))
    if is_json:
        print_json({"imported": target})
    else:
        click.echo(f"Imported {file} as {target}.")


command.add_command(backup)
command.add_command(restore)


def details_text(found: ObjectDetails) -> str:
    """Return one object as lines of label and value."""
    info = found.info
    rows = [
        ("Class", info.class_name),
        ("Name", info.name or "(none)"),
        ("Id", info.object_id),
        ("File", info.file),
        ("Size", size_text(info.size_bytes)),
        ("History", size_text(found.history_bytes) if found.history_bytes else "in the log only"),
        ("State", info.problem or ("live" if info.is_live else "not in memory")),
        ("Alarm", "none" if info.alarm_ms is None else alarm_text(info.alarm_ms)),
        ("Last write", "unknown" if found.written_ms is None else alarm_text(found.written_ms)),
        ("Keys", str(found.keys)),
        *((("Facets", str(info.facets)),) if info.facets else ()),
        *((f"Table {name}", f"{count} rows") for name, count in found.tables.items()),
    ]
    return columns_text(rows[0], rows[1:])


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


def alarm_text(alarm_ms: int) -> str:
    """Return the due time in UTC."""
    due = datetime.datetime.fromtimestamp(alarm_ms / 1000, tz=datetime.UTC)
    return due.strftime("%Y-%m-%d %H:%M:%SZ")
