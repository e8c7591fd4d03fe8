"""`dohost catalog`: the index of objects, which can be made anew at any time."""

from __future__ import annotations

import click

from dohost.cli.console import json_option, print_json
from dohost.cli.local_client import asking
from dohost.cli.project import Project, project_options
from dohost.runtime.upkeep import Rebuilt


@click.group("catalog", epilog="Example: dohost catalog rebuild")
def command() -> None:
    """Look after the catalog: names of objects and times of alarms."""


@command.command("rebuild", epilog="Example: dohost catalog rebuild")
@json_option
@project_options
def rebuild(*, is_json: bool, project: Project) -> int:
    """Read every object's file and make the catalog anew; say which files it forgets."""
    with asking(project) as asked:
        made = asked.ask("rebuild", {}, Rebuilt)
    if is_json:
        print_json(made)
    else:
        click.echo(f"The catalog knows {made.objects} objects and {made.alarms} alarms.")
        for reason in made.forgotten:
            click.echo(f"Forgotten: {reason}", err=True)
    return 1 if made.forgotten else 0
