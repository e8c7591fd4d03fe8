"""`dohost alarm`: the alarm of one object, from the shell."""

from __future__ import annotations

import datetime

import click

from dohost.cli.console import json_option, print_json
from dohost.cli.local_client import asking
from dohost.cli.objects import alarm_text
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object
from dohost.errors import CallerError


@click.group("alarm", epilog="Example: dohost alarm run Counter/visits")
def command() -> None:
    """Look at, set, delete or run the alarm of one object."""


@command.command("get", epilog="Example: dohost alarm get Counter/visits")
@click.argument("target", metavar="CLASS/NAME")
@json_option
@project_options
def get(target: str, *, is_json: bool, project: Project) -> None:
    """Print when the alarm is due, in UTC."""
    with asking(project, with_code=True) as asked:
        due_ms = asked.ask("alarm_get", _named(target), int | None)  # type: ignore[arg-type] # a union
    if is_json:
        print_json({"due_ms": due_ms})
    else:
        click.echo("none" if due_ms is None else alarm_text(due_ms))


@command.command("set", epilog="Example: dohost alarm set Counter/visits 2026-12-24T18:00:00Z")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("time")
@project_options
def set_alarm(target: str, *, time: str, project: Project) -> None:
    """Set the alarm to TIME: ISO 8601 (UTC if it names no zone), or ms since the epoch."""
    arguments = {**_named(target), "due_ms": _milliseconds(time)}
    with asking(project, with_code=True) as asked:
        asked.ask("alarm_set", arguments, type(None))


@command.command("delete", epilog="Example: dohost alarm delete Counter/visits")
@click.argument("target", metavar="CLASS/NAME")
@project_options
def delete(target: str, *, project: Project) -> None:
    """Delete the alarm, if one is set."""
    with asking(project, with_code=True) as asked:
        asked.ask("alarm_set", _named(target), type(None))


@command.command("run", epilog="Example: dohost alarm run Counter/visits")
@click.argument("target", metavar="CLASS/NAME")
@project_options
def run(target: str, *, project: Project) -> None:
    """Run the alarm's handler now; it is an error if no alarm is set."""
    with asking(project, with_code=True) as asked:
        if not asked.ask("alarm_run", _named(target), bool):
            raise CallerError(f"{target} has no alarm set.")


def _named(target: str) -> dict[str, str]:
    class_name, name = split_object(target)
    return {"class_name": class_name, "name": name}


def _milliseconds(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is no time, such as 2026-12-24T18:00:00Z.") from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
    return round(aware.timestamp() * 1000)
