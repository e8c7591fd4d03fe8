"""Where the command line writes: answers to stdout, everything about the run to stderr or the console.

Text reaches rich as `Text`, never as markup: file names and user data contain brackets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import TextIO, TypeVar

import click
import msgspec
from rich.console import Console
from rich.text import Text

from dohost.errors import ConfigError

PREFIX = "[dohost]"
Item = TypeVar("Item")


def out() -> Console:
    """Return the console on stdout; colours only on a terminal and without NO_COLOR."""
    _show_what_the_encoding_lacks(sys.stdout)
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Return the console on stderr."""
    _show_what_the_encoding_lacks(sys.stderr)
    return Console(highlight=False, soft_wrap=True, stderr=True)


def _show_what_the_encoding_lacks(stream: TextIO) -> None:
    """Print a replacement instead of failing on a terminal that can't show a line or an arrow."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")


json_option = click.option("--json", "is_json", is_flag=True, help="As JSON.")


def print_json(value: object) -> None:
    """Print an answer for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def counted(items: Sequence[Item], *, doing: str) -> Iterable[Item]:
    """Yield the items; on a terminal a bar shows how far they are."""
    if not sys.stderr.isatty():
        return items
    from rich.progress import track  # lazy: servers show no progress

    return track(items, description=doing, console=err(), transient=True)


def print_config_error(error: ConfigError) -> None:
    """Print everything that was found in the configuration, warnings first as wrangler does."""
    console = err()
    if error.warnings:
        console.print(block("WARNING", "Processing configuration:", error.warnings))
    console.print(block("ERROR", "Processing configuration:", error.problems))


def print_error(message: str) -> None:
    """Print one error."""
    err().print(block("ERROR", message, ()))


def block(level: str, title: str, items: Sequence[str]) -> Text:
    """Return wrangler's block: a coloured head and an indented list."""
    mark, colour = ("✘", "red") if level == "ERROR" else ("▲", "yellow")
    text = Text.assemble((f"{mark} [{level}]", f"bold {colour}"), f" {title}\n")
    if items:
        text.append("\n")
    for item in items:
        first, *rest = item.splitlines()
        text.append(f"    - {first}\n")
        for line in rest:
            text.append(f"      {line}\n" if line else "\n")
    return text
