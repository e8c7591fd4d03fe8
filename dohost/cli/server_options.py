"""The options that `dohost dev` and `dohost serve` share, and what they mean."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import click
import msgspec

from dohost.cli.console import out
from dohost.cli.dev_view import LOG_LEVELS, DevView
from dohost.cli.project import Project, parse_vars
from dohost.config import Overrides
from dohost.runtime.watchdog import HANG_S_DEFAULT
from dohost.server.client_address import parse_networks
from dohost.storage.history import DEFAULT_LIMITS, HistoryLimits


class ServerFlags(TypedDict):
    """What click passes, by option."""

    name: str | None
    compatibility_date: str | None
    compatibility_flags: tuple[str, ...]
    variables: dict[str, str]
    env_files: tuple[Path, ...]
    assets: Path | None
    ip: str | None
    port: int | None
    local_protocol: str | None
    https_key_path: Path | None
    https_cert_path: Path | None
    log_level: str
    is_strict: bool
    evict_after_s: float
    has_eviction: bool
    hang_s: float
    metrics_to: tuple[str, ...]
    history_commits: int
    history_hours: float
    is_json: bool


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and how objects live; None where the configuration decides."""

    ip: str | None
    port: int | None
    protocol: str | None
    tls: ssl.SSLContext | None
    is_strict: bool
    evict_after_s: float | None
    history: HistoryLimits = DEFAULT_LIMITS
    hang_s: float = HANG_S_DEFAULT
    metrics_to: tuple[str, ...] = ()


def parse_addresses(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Check addresses and networks. Raises: click.BadParameter for what is neither."""
    try:
        parse_networks(values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx=context, param=option) from error
    return values


_OPTIONS = (
    click.argument("script", type=click.Path(path_type=Path), required=False),
    click.option("--name", help="Name of the Worker, instead of the configuration's."),
    click.option("--compatibility-date", metavar="DATE", help="Instead of the configuration's."),
    click.option(
        "--compatibility-flags", multiple=True, metavar="FLAG", help="In addition; repeatable."
    ),
    click.option("--ip", help="Address to listen on (default 127.0.0.1)."),
    click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8787)."),
    click.option("--local-protocol", type=click.Choice(["http", "https"]), help="Default http."),
    click.option("--https-key-path", type=click.Path(path_type=Path), metavar="FILE"),
    click.option("--https-cert-path", type=click.Path(path_type=Path), metavar="FILE"),
    click.option(
        "--var",
        "variables",
        multiple=True,
        callback=parse_vars,
        metavar="NAME:VALUE",
        help="Repeatable.",
    ),
    click.option(
        "--env-file",
        "env_files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read secrets from here instead of .dev.vars or .env; repeatable.",
    ),
    click.option(
        "--assets",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Directory of static assets, instead of the configuration's.",
    ),
    click.option("--log-level", type=click.Choice(LOG_LEVELS), default="log", show_default=True),
    click.option(
        "--strict", "is_strict", is_flag=True, help="Enforce Cloudflare's production limits."
    ),
    click.option(
        "--evict-after",
        "evict_after_s",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long an idle object stays in memory.",
    ),
    click.option(
        "--no-evict", "has_eviction", flag_value=False, default=True, help="Keep objects in memory."
    ),
    click.option(
        "--report-hangs",
        "hang_s",
        type=click.FloatRange(min=0.1),
        default=HANG_S_DEFAULT,
        show_default=True,
        metavar="SECONDS",
        help="Report code that keeps everybody else waiting for longer than this.",
    ),
    click.option(
        "--metrics-to",
        multiple=True,
        callback=parse_addresses,
        metavar="ADDRESS",
        help="Address or network, beside this machine, that may read /cdn-cgi/metrics; repeatable.",
    ),
    click.option(
        "--history-commits",
        type=click.IntRange(min=0),
        default=DEFAULT_LIMITS.commits_max,
        show_default=True,
        metavar="N",
        help="How many commits of each object can at least be gone back to; 0: none.",
    ),
    click.option(
        "--history-hours",
        type=click.FloatRange(min=0),
        default=DEFAULT_LIMITS.age_max_s / 3600,
        show_default=True,
        metavar="HOURS",
        help="After how long an object's past may be forgotten.",
    ),
    click.option(
        "--json-logs", "is_json", is_flag=True, help="One JSON object per line, on stderr."
    ),
)


def server_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the shared options to a command, which gets them as `ServerFlags` beside its `script`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def project_of(project: Project, script: Path | None, flags: ServerFlags) -> Project:
    """Return the project with what the command line says over its files."""
    overrides = Overrides(
        vars=flags["variables"],
        env_files=flags["env_files"],
        name=flags["name"],
        main=None if script is None else project.cwd / script,
        assets=None if flags["assets"] is None else project.cwd / flags["assets"],
        compatibility_date=flags["compatibility_date"],
        compatibility_flags=flags["compatibility_flags"],
    )
    return msgspec.structs.replace(project, overrides=overrides)


def serving_of(flags: ServerFlags) -> Serving:
    """Return what the shared options mean. Raises: click.UsageError for a certificate of no use."""
    return Serving(
        ip=flags["ip"],
        port=flags["port"],
        protocol=flags["local_protocol"],
        tls=_tls(flags["https_cert_path"], flags["https_key_path"]),
        is_strict=flags["is_strict"],
        evict_after_s=flags["evict_after_s"] if flags["has_eviction"] else None,
        hang_s=flags["hang_s"],
        metrics_to=flags["metrics_to"],
        history=HistoryLimits(
            commits_max=flags["history_commits"], age_max_s=round(flags["history_hours"] * 3600)
        ),
    )


def view_of(flags: ServerFlags) -> DevView:
    """Return the console that the options ask for."""
    return DevView(out(), log_level=flags["log_level"], is_json=flags["is_json"])


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
