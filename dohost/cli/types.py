"""`dohost types`: types of `env` for editors and type checkers.

The code is loaded on an empty data directory that is thrown away, so that no real data is touched; a stub
file is written beside each worker's main module.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from dohost.cli.binding_types import env_types
from dohost.cli.hosting import run_async, running_host
from dohost.cli.project import Project, project_options
from dohost.runtime.host import HostOptions

MODULE = "worker_types"


@click.command("types", epilog="Example: dohost types --print")
@click.option("--print", "is_printed", is_flag=True, help="Print the types, write no file.")
@project_options
def command(*, is_printed: bool, project: Project) -> int:
    """Write worker_types.pyi: the bindings of `env` with their classes and methods."""
    for path, text in run_types(project).items():
        if is_printed:
            click.echo(text)
        else:
            path.write_text(text)
            click.echo(f"Wrote {path}")
    return 0


def run_types(project: Project) -> dict[Path, str]:
    """Return the stub file of each worker of the project. Raises: ConfigError, LoadFailed."""
    workers = project.read().workers
    found: dict[Path, str] = {}
    with tempfile.TemporaryDirectory(prefix="dohost-types-") as directory:

        async def load() -> int:
            async with running_host(HostOptions(persist=Path(directory))) as host:
                await host.load(workers)
                for generation in host.generations.values():
                    path = generation.config.source_directory / f"{MODULE}.pyi"
                    found[path] = env_types(generation, host.generations, module=MODULE)
            return 0

        run_async(load())
    return found
