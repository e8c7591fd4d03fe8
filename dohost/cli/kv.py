"""`dohost kv`: the keys of one object, from the shell."""

from __future__ import annotations

import click
import msgspec

from dohost.cli.console import json_option, print_json
from dohost.cli.local_client import asking
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object
from dohost.errors import CallerError
from dohost.runtime.reach import Value


@click.group("kv", epilog="Example: dohost kv list Counter/visits")
def command() -> None:
    """Read and write the keys of one object, through the object itself. Values are JSON, or plain text."""


@command.command("get", epilog="Example: dohost kv get Counter/visits value")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("key")
@json_option
@project_options
def get(target: str, *, key: str, is_json: bool, project: Project) -> None:
    """Print the value of KEY as JSON; it is an error if there is none."""
    with asking(project, with_code=True) as asked:
        found = asked.ask("kv_get", {**_named(target), "key": key}, Value)
    if found.text is None:
        raise CallerError(f"{target} has no key {key!r}.")
    click.echo(found.text)


@command.command("put", epilog="""Example: dohost kv put Counter/visits value 42""")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("key")
@click.argument("value")
@project_options
def put(target: str, *, key: str, value: str, project: Project) -> None:
    """Set KEY to VALUE; durable when the command returns."""
    with asking(project, with_code=True) as asked:
        asked.ask("kv_put", {**_named(target), "key": key, "value": value}, type(None))


@command.command("delete", epilog="Example: dohost kv delete Counter/visits value")
@click.argument("target", metavar="CLASS/NAME")
@click.argument("key")
@project_options
def delete(target: str, *, key: str, project: Project) -> None:
    """Delete KEY; it is an error if there is none."""
    with asking(project, with_code=True) as asked:
        if not asked.ask("kv_delete", {**_named(target), "key": key}, bool):
            raise CallerError(f"{target} has no key {key!r}.")


@command.command("list", epilog="Example: dohost kv list Counter/visits --prefix user:")
@click.argument("target", metavar="CLASS/NAME")
@click.option("--prefix", default="", help="Only keys that begin so.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@project_options
def list_keys(target: str, *, prefix: str, limit: int, is_json: bool, project: Project) -> None:
    """Print keys and values in order, tab between them."""
    with asking(project, with_code=True) as asked:
        arguments = {**_named(target), "prefix": prefix, "limit": limit}
        found = asked.ask("kv_list", arguments, dict[str, Value])
    if is_json:
        print_json(
            {key: msgspec.Raw((each.text or "null").encode()) for key, each in found.items()}
        )
        return
    for key, each in found.items():
        click.echo(f"{key}\t{each.text}")


def _named(target: str) -> dict[str, str]:
    class_name, name = split_object(target)
    return {"class_name": class_name, "name": name}
