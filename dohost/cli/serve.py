"""`dohost serve`: the server for one machine in production."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from dohost.cli.hosting import run_async
from dohost.cli.project import Project, project_options
from dohost.cli.serve_session import serve_until_stopped
from dohost.cli.server_options import (
    ServerFlags,
    parse_addresses,
    project_of,
    server_options,
    serving_of,
    view_of,
)
from dohost.storage.connection import use_little_memory


class _Flags(ServerFlags):
    """What click passes, by option."""

    trusted_proxies: tuple[str, ...]


@click.command("serve", epilog="Example: dohost serve --port 8080 --strict --json-logs")
@server_options
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    callback=parse_addresses,
    metavar="ADDRESS",
    help="Address or network whose X-Forwarded-For is believed; repeatable.",
)
@project_options
def command(script: Path | None, *, project: Project, **flags: Unpack[_Flags]) -> int:
    """Serve without watching files and without developer pages; crons fire. SCRIPT replaces main."""
    use_little_memory()
    return run_async(
        serve_until_stopped(
            project_of(project, script, flags),
            serving_of(flags),
            trusted_proxies=flags["trusted_proxies"],
            view=view_of(flags),
        )
    )
