"""The options that say which project a command is about, and reading it.

Every command that touches configuration or data takes the same three options and finds the same
directory, so that `dohost objects ls` looks where `dohost dev` wrote.
"""

from __future__ import annotations

import functools
import os.path
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from dohost.config import Loaded, Overrides, WorkerConfig, load

DATA_DIRECTORY = "data"
_OPTIONS = (
    click.option(
        "--persist-to",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Data directory (default: data/ beside the configuration).",
    ),
    click.option("-e", "--env", metavar="NAME", help="Environment section to use."),
    click.option(
        "-c",
        "--config",
        "configs",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="Configuration file; repeat it for more Workers in this process.",
    ),
)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """Which files, which environment, which data."""

    cwd: Path
    configs: tuple[Path, ...] = ()
    env: str | None = None
    persist_to: Path | None = None
    overrides: Overrides = Overrides()

    def read(self) -> Loaded:
        """Read the configuration as it is now. Raises: ConfigError."""
        return load(self.configs or None, cwd=self.cwd, env=self.env, overrides=self.overrides)

    def persist(self, loaded: Loaded) -> Path:
        """Return the data directory: the named one, or `data/` beside the primary configuration."""
        if self.persist_to is not None:
            return (self.cwd / self.persist_to).resolve()
        return loaded.workers[0].config_path.parent / DATA_DIRECTORY


def source_root(workers: tuple[WorkerConfig, ...]) -> Path:
    """Return the directory that holds every Worker's own source."""
    return Path(os.path.commonpath([worker.source_directory for worker in workers]))


def project_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add --config, --env and --persist-to to a command, which gets them as `project`."""

    @functools.wraps(command)
    def with_project(
        *, configs: tuple[Path, ...], env: str | None, persist_to: Path | None, **rest: object
    ) -> object:
        project = Project(cwd=Path.cwd(), configs=configs, env=env, persist_to=persist_to)
        return command(project=project, **rest)

    wrapped: Callable[..., object] = with_project
    for option in _OPTIONS:
        wrapped = option(wrapped)
    return wrapped


def parse_vars(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Parse `--var NAME:VALUE`; click calls it."""
    parsed: dict[str, str] = {}
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not name:
            raise click.BadParameter(f"{value!r} is not NAME:VALUE", ctx=context, param=option)
        parsed[name] = text
    return parsed
