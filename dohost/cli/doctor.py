"""`dohost doctor`: is the data whole, and can this machine run it?

Every object's file is read from end to end, one call each, so that a running server goes on meanwhile.
"""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from dohost import __version__
from dohost.cli.console import counted, json_option, print_json
from dohost.cli.local_client import Asked, asking
from dohost.cli.project import Project, project_options
from dohost.runtime.descriptors import OBJECT_DESCRIPTORS
from dohost.runtime.inspection import ObjectInfo
from dohost.runtime.layout import read_layout
from dohost.runtime.lock import holder
from dohost.storage.connection import sqlite_version
from dohost.storage.facet_index import facet_files
from dohost.storage.inspection import Verdict

DESCRIPTORS_MIN = 4096


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `problems` need a person; `facts` are good to know."""

    facts: tuple[str, ...]
    objects: int
    problems: tuple[str, ...]


@click.command("doctor", epilog="Example: dohost doctor --json")
@json_option
@project_options
def command(*, is_json: bool, project: Project) -> int:
    """Verify every object's file, the catalog and the surroundings; exits with 1 if something is wrong."""
    persist = project.persist(project.read())
    known = [*_surroundings()]
    holding = holder(persist)
    known.append(f"Data directory {persist}, format {read_layout(persist).format}")
    if holding is not None:
        known.append(f"In use by process {holding.pid} {holding.url}".rstrip())
    problems = [*_limits()]
    objects: list[ObjectInfo] = []
    if persist.exists():
        with asking(project) as asked:
            objects = asked.ask("objects", {}, list[ObjectInfo])
            problems += _damage(asked, objects)
            problems += asked.ask("missing", {}, list[str])
    report = Report(facts=tuple(known), objects=len(objects), problems=tuple(problems))
    if is_json:
        print_json(report)
    else:
        _show(report)
    return 1 if problems else 0


def _surroundings() -> Iterator[str]:
    yield f"dohost {__version__}, Python {platform.python_version()}, SQLite {sqlite_version()}"
    yield f"{platform.system()} {platform.machine()}"


def _limits() -> Iterator[str]:
    # The server takes all that it may have.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_MIN:
        yield (
            f"Only {hard} files may be open at once, and each live object takes up to "
            f"{OBJECT_DESCRIPTORS}: let the system allow {DESCRIPTORS_MIN}."
        )


def _damage(asked: Asked, objects: list[ObjectInfo]) -> Iterator[str]:
    for each in counted(objects, doing="Verifying"):
        for file in (Path(each.file), *facet_files(Path(each.file))):
            yield from asked.ask("verify", {"file": str(file)}, Verdict).problems


def _show(report: Report) -> None:
    for fact in report.facts:
        click.echo(fact)
    click.echo(f"{report.objects} objects verified.")
    for problem in report.problems:
        click.echo(f"✘ {problem}")
    if not report.problems:
        click.echo("✔ No problems found.")
