"""`dohost dev`: flags into values; `dev_session` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from dohost.cli.dev_session import DevFlags, serve
from dohost.cli.hosting import run_async
from dohost.cli.project import Project, project_options
from dohost.cli.server_options import (
    ServerFlags,
    project_of,
    server_options,
    serving_of,
    view_of,
)
from dohost.storage.connection import use_little_memory


class _Flags(ServerFlags):
    """What click passes, by option."""

    is_watching: bool
    opens_browser: bool
    tests_scheduled: bool
    fires_crons: bool


@click.command("dev", epilog="Example: dohost dev --port 8080 --var GREETING:hello")
@server_options
@click.option(
    "--no-watch", "is_watching", flag_value=False, default=True, help="Don't reload on change."
)
@click.option("--open", "opens_browser", is_flag=True, help="Open a browser when ready.")
@click.option(
    "--test-scheduled",
    "tests_scheduled",
    is_flag=True,
    help="GET /__scheduled?cron=… runs the scheduled handler.",
)
@click.option(
    "--fire-crons",
    "fires_crons",
    is_flag=True,
    help="Run the scheduled handler when crons are due.",
)
@project_options
def command(script: Path | None, *, project: Project, **flags: Unpack[_Flags]) -> int:
    """Run a local server that reloads on each save; SCRIPT replaces the configuration's main."""
    dev_flags = DevFlags(
        serving=serving_of(flags),
        is_watching=flags["is_watching"],
        opens_browser=flags["opens_browser"],
        tests_scheduled=flags["tests_scheduled"],
        fires_crons=flags["fires_crons"],
    )
    use_little_memory()
    return run_async(serve(project_of(project, script, flags), dev_flags, view=view_of(flags)))
