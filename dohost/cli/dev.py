"""`dohost dev`: flags into values; `dev_session` does the work."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TypedDict, Unpack

import click
import msgspec

from dohost.cli.assemble import run_async
from dohost.cli.console import out
from dohost.cli.dev_session import DevFlags, serve
from dohost.cli.dev_view import LOG_LEVELS, DevView
from dohost.cli.project import Project, parse_vars, project_options
from dohost.config import Overrides
from dohost.storage.history import DEFAULT_LIMITS, HistoryLimits


class _Flags(TypedDict):
    """What click passes, by option."""

    name: str | None
    compatibility_date: str | None
    compatibility_flags: tuple[str, ...]
    variables: dict[str, str]
    env_files: tuple[Path, ...]
    ip: str | None
    port: int | None
    local_protocol: str | None
    https_key_path: Path | None
    https_cert_path: Path | None
    log_level: str
    is_strict: bool
    evict_after_s: float
    has_eviction: bool
    history_commits: int
    history_hours: float
    is_watching: bool
    is_json: bool
    opens_browser: bool
    tests_scheduled: bool
    fires_crons: bool


@click.command("dev", epilog="Example: dohost dev --port 8080 --var GREETING:hello")
@click.argument("script", type=click.Path(path_type=Path), required=False)
@click.option("--name", help="Name of the Worker, instead of the configuration's.")
@click.option("--compatibility-date", metavar="DATE", help="Instead of the configuration's.")
@click.option(
    "--compatibility-flags", multiple=True, metavar="FLAG", help="In addition; repeatable."
)
@click.option("--ip", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8787).")
@click.option("--local-protocol", type=click.Choice(["http", "https"]), help="Default http.")
@click.option("--https-key-path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--https-cert-path", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--var",
    "variables",
    multiple=True,
    callback=parse_vars,
    metavar="NAME:VALUE",
    help="Repeatable.",
)
@click.option(
    "--env-file",
    "env_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read secrets from here instead of .dev.vars or .env; repeatable.",
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="log", show_default=True)
@click.option("--strict", "is_strict", is_flag=True, help="Enforce Cloudflare's production limits.")
@click.option(
    "--evict-after",
    "evict_after_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an idle object stays in memory.",
)
@click.option(
    "--no-evict", "has_eviction", flag_value=False, default=True, help="Keep objects in memory."
)
@click.option(
    "--history-commits",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMITS.commits_max,
    show_default=True,
    metavar="N",
    help="How many commits of each object can at least be gone back to; 0: none.",
)
@click.option(
    "--history-hours",
    type=click.FloatRange(min=0),
    default=DEFAULT_LIMITS.age_max_s / 3600,
    show_default=True,
    metavar="HOURS",
    help="After how long an object's past may be forgotten.",
)
@click.option(
    "--no-watch", "is_watching", flag_value=False, default=True, help="Don't reload on change."
)
@click.option("--json-logs", "is_json", is_flag=True, help="One JSON object per line, on stderr.")
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
    overrides = Overrides(
        vars=flags["variables"],
        env_files=flags["env_files"],
        name=flags["name"],
        main=None if script is None else project.cwd / script,
        compatibility_date=flags["compatibility_date"],
        compatibility_flags=flags["compatibility_flags"],
    )
    view = DevView(out(), log_level=flags["log_level"], is_json=flags["is_json"])
    dev_flags = DevFlags(
        ip=flags["ip"],
        port=flags["port"],
        protocol=flags["local_protocol"],
        tls=_tls(flags["https_cert_path"], flags["https_key_path"]),
        is_strict=flags["is_strict"],
        evict_after_s=flags["evict_after_s"] if flags["has_eviction"] else None,
        history=HistoryLimits(
            commits_max=flags["history_commits"], age_max_s=round(flags["history_hours"] * 3600)
        ),
        is_watching=flags["is_watching"],
        opens_browser=flags["opens_browser"],
        tests_scheduled=flags["tests_scheduled"],
        fires_crons=flags["fires_crons"],
    )
    project = msgspec.structs.replace(project, overrides=overrides)
    return run_async(serve(project, dev_flags, view=view))


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--https-cert-path and --https-key-path go together.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is an OSError
        raise click.UsageError(f"The certificate or key can't be used: {error}") from error
    return context
