"""`dohost objects backup` and `restore`: all objects, or some, as they were at one moment.

A backup is a directory laid out as a data directory, with `backup.json` saying what is in it: each object
is one SQLite file without a log. Restoring puts objects back one by one; what exists is only replaced when
asked to, and keeps its history, so that even this can be undone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from dohost.cli.columns import size_text
from dohost.cli.console import counted, json_option, print_json
from dohost.cli.local_client import Asked, asking
from dohost.cli.project import Project, project_options
from dohost.cli.sql import split_object
from dohost.errors import CallerError, HostError
from dohost.runtime.backups import Backup, BackupItem
from dohost.runtime.inspection import Inspector
from dohost.runtime.layout import LAYOUT_NAME
from dohost.storage.copies import Copied
from dohost.storage.durable_file import write_durably
from dohost.storage.facet_index import is_facet
from dohost.storage.inspection import facts

MANIFEST = "backup.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds, and what it had to leave out."""

    format: int = 1
    objects: int
    size_bytes: int
    problems: tuple[str, ...] = ()


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    item: BackupItem
    file: Path
    name: str | None

    @property
    def label(self) -> str:
        return f"{self.item.unique_key}/{self.name or self.item.object_id}"


@click.command("backup", epilog="Example: dohost objects backup backups/monday")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("class_name", metavar="[CLASS]", required=False)
@json_option
@project_options
def backup(directory: Path, *, class_name: str | None, is_json: bool, project: Project) -> int:
    """Copy all objects, or those of CLASS, to DIR, all as they are at one moment."""
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()):
        raise CallerError(f"{directory} is not empty.")
    persist = project.persist(project.read())
    with asking(project) as asked, _emptied_by_failure(directory):
        copied, problems = _copy_all(asked, class_name, directory)
        manifest = Manifest(
            objects=len(copied),
            size_bytes=sum(each.size_bytes for each in copied),
            problems=tuple(problems),
        )
        with _writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            _copy_layout(persist, directory)
            # Last: a backup without it is not finished.
            content = msgspec.json.format(msgspec.json.encode(manifest))
            write_durably(directory / MANIFEST, content + b"\n")
    if is_json:
        print_json(manifest)
    else:
        click.echo(
            f"Backed up {manifest.objects} objects ({size_text(manifest.size_bytes)}) to {directory}."
        )
        for problem in problems:
            click.echo(f"Left out: {problem}", err=True)
    return 1 if problems else 0


@click.command("restore", epilog="Example: dohost objects restore backups/monday Counter/visits")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("targets", metavar="[CLASS/NAME…]", nargs=-1)
@click.option("--replace", "replaces", is_flag=True, help="Replace objects that exist.")
@json_option
@project_options
def restore(
    directory: Path, *, targets: tuple[str, ...], replaces: bool, is_json: bool, project: Project
) -> None:
    """Put objects back from a backup: all of it, or the named ones."""
    loaded = project.read()
    persist = project.persist(loaded)
    saved = _saved_in(directory)
    if not persist.exists():
        with _writing(persist), _emptied_by_failure(persist):
            persist.mkdir(parents=True, mode=0o700)
            _copy_layout(directory, persist)
    inspector = Inspector(persist, loaded.workers)
    if targets:
        wanted = {inspector.key(*split_object(target)).address: target for target in targets}
        saved = [each for each in saved if (each.item.unique_key, each.item.object_id) in wanted]
        if len(saved) != len(wanted):
            found = {(each.item.unique_key, each.item.object_id) for each in saved}
            missing = ", ".join(label for address, label in wanted.items() if address not in found)
            raise CallerError(f"The backup {directory} does not hold {missing}.")
    taken = [each.label for each in saved if _file_in(persist, each.item).exists()]
    if taken and not replaces:
        raise CallerError(
            f"{len(taken)} objects exist already ({', '.join(taken[:5])}{'…' if taken[5:] else ''}). "
            "Replace them with --replace; nothing was changed."
        )
    with asking(project) as asked:
        for each in counted(saved, doing="Restoring"):
            arguments = {
                **msgspec.structs.asdict(each.item),
                "name": each.name or "",
                "file": str(each.file.absolute()),
                "replaces": replaces,
            }
            asked.ask("put_back", arguments, type(None))
    if is_json:
        print_json({"restored": [each.label for each in saved], "replaced": taken})
    else:
        click.echo(f"Restored {len(saved)} objects from {directory}; {len(taken)} were replaced.")


def _copy_all(
    asked: Asked, class_name: str | None, directory: Path
) -> tuple[list[Copied], list[str]]:
    """Copy what there is at this moment; return the copies, and why others could not be made."""
    copied: list[Copied] = []
    problems: list[str] = []
    cut = asked.ask("begin_backup", {"class_name": class_name}, Backup)
    try:
        for item in counted(cut.items, doing="Backing up"):
            arguments = {
                **msgspec.structs.asdict(item),
                "number": cut.number,
                "file": str(_file_in(directory, item)),
            }
            try:
                one = asked.ask("copy_backup", arguments, Copied | None)  # type: ignore[arg-type] # a union
            except CallerError as error:
                problems.append(str(error))
            else:
                copied += [one] if one is not None else []
    finally:
        asked.ask("end_backup", {"number": cut.number}, type(None))
    return copied, problems


@contextlib.contextmanager
def _emptied_by_failure(directory: Path) -> Iterator[None]:
    """Leave nothing in a directory that was empty if the block fails: it can be tried again."""
    try:
        yield
    except BaseException:
        for each in directory.glob("*"):
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            directory.rmdir()
        raise


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"{directory} can't be written: {error.strerror or error}.") from error


def _copy_layout(source: Path, target: Path) -> None:
    if (source / LAYOUT_NAME).exists():
        write_durably(target / LAYOUT_NAME, (source / LAYOUT_NAME).read_bytes())


def _saved_in(directory: Path) -> list[_Saved]:
    if not (directory / MANIFEST).is_file():
        raise CallerError(f"{directory} is no backup, or one that was not finished: no {MANIFEST}.")
    return [
        _Saved(
            item=BackupItem(unique_key=path.parent.name, object_id=path.stem),
            file=path,
            name=facts(path).name,
        )
        for path in sorted(directory.glob("v3/do/*/*.sqlite"))
        if not is_facet(path.stem)
    ]


def _file_in(directory: Path, item: BackupItem) -> Path:
    return directory / "v3" / "do" / item.unique_key / f"{item.object_id}.sqlite"
