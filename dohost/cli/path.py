"""`dohost path`: the file of one object, for `sqlite3`, Datasette and their like."""

from __future__ import annotations

import click

from dohost.cli.local_client import open_objects
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object


@click.command("path", epilog="Example: sqlite3 -readonly $(dohost path Counter/visits)")
@click.argument("target", metavar="CLASS/NAME")
@project_options
def command(target: str, *, project: Project) -> None:
    """Print the file of one object, by name or id."""
    class_name, name = split_object(target)
    click.echo(str(open_objects(project).path(class_name, name)))
