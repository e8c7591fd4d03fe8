"""`dohost call`: one method of one object, from the shell."""

from __future__ import annotations

import click

from dohost.cli.local_client import asking
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object
from dohost.runtime.reach import Value


@click.command("call", epilog="Example: dohost call Counter/visits add '{\"by\": 2}'")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("method")
@click.argument("arguments", metavar="[ARGUMENT…]", nargs=-1)
@project_options
def command(target: str, *, method: str, arguments: tuple[str, ...], project: Project) -> None:
    """Call METHOD as another object would; arguments are JSON or plain text, the result is JSON."""
    class_name, name = split_object(target)
    question = {
        "class_name": class_name,
        "name": name,
        "method": method,
        "arguments": list(arguments),
    }
    with asking(project, with_code=True) as asked:
        click.echo(asked.ask("call", question, Value).text)
