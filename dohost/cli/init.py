"""`dohost init`: a project that runs, with tests, from a template.

Templates are the files under `templates/`, with `.txt` behind their names so that no tool takes them for
code of ours; `common` goes into every project. Nothing that is there already is overwritten.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from dohost.errors import CallerError

TEMPLATES = ("counter", "chat", "gateway")
_DIRECTORY = Path(__file__).parent / "templates"
_NAME = "__NAME__"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


@click.command("init", epilog="Example: dohost init rooms --template chat")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default="counter",
    show_default=True,
    help="What the project starts as.",
)
def command(directory: Path, template: str) -> None:
    """Make a project that runs, with tests."""
    made = make_project(directory, template)
    for path in made:
        click.echo(f"  {directory / path}")
    click.echo("\nRun it:")
    if directory.resolve() != Path.cwd():
        click.echo(f"  cd {directory}")
    click.echo("  dohost dev\n  pytest")


def make_project(directory: Path, template: str) -> list[Path]:
    """Write the files of a template and return their paths, relative to `directory`.

    Raises: CallerError if one of them is there already; nothing is written then.
    """
    files = {**_files(_DIRECTORY / "common"), **_files(_DIRECTORY / template)}
    there = [str(path) for path in files if (directory / path).exists()]
    if there:
        raise CallerError(
            f"{directory} has {', '.join(sorted(there))} already. Name an empty directory: "
            "dohost init DIR."
        )
    name = _NOT_IN_NAMES.sub("-", directory.resolve().name.lower()).strip("-_") or "app"
    for path, text in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(_NAME, name), "utf-8")
    return sorted(files)


def _files(directory: Path) -> dict[Path, str]:
    return {
        path.relative_to(directory).with_suffix(""): path.read_text("utf-8")
        for path in sorted(directory.rglob("*.txt"))
    }
