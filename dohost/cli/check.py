"""`dohost check`: everything that would stop this source from running, here or on Cloudflare.

First cut: configuration, loading the code with the bindings that it will have, bound classes, the
program's own `check(env)` (configuration and composition of a gateway), and imports that Cloudflare lacks.
Code is loaded on an empty data directory that is thrown away, so that no real data is touched.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.text import Text

from dohost.cli.console import block, err, out
from dohost.cli.hosting import run_async, running_host
from dohost.cli.portability import find_unportable
from dohost.cli.project import Project, project_options, source_root
from dohost.config import Loaded
from dohost.dev.failures import Redactor, describe, failure_text
from dohost.errors import ConfigError
from dohost.runtime.front import RULE_IGNORED
from dohost.runtime.host import HostOptions, LoadFailed
from dohost.telemetry import Event, Log


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the check found; only problems fail it."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@click.command("check", epilog="Example: dohost check --env staging")
@click.option("--json", "is_json", is_flag=True, help="One JSON object.")
@project_options
def command(*, is_json: bool, project: Project) -> int:
    """Say what would stop this source from running, here or on Cloudflare."""
    findings = examine(project)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())
    else:
        _show(findings)
    return 1 if findings.problems else 0


def examine(project: Project) -> Findings:
    """Return everything that is wrong with the project, all at once where that is possible."""
    try:
        loaded = project.read()
    except ConfigError as error:
        return Findings(problems=error.problems, warnings=error.warnings)
    problems: list[str] = []
    warnings = list(loaded.warnings)
    for root in dict.fromkeys(each.main.parent for each in loaded.workers if each.main):
        problems += find_unportable(root, cwd=project.cwd)
    with tempfile.TemporaryDirectory(prefix="dohost-check-") as directory:
        persist = Path(directory)

        async def load() -> int:
            log = Log(partial(_note, warnings))
            problems.extend(await _load_problems(loaded, HostOptions(persist=persist, log=log)))
            return 0

        run_async(load())
    return Findings(problems=tuple(problems), warnings=tuple(warnings))


def _note(warnings: list[str], event: Event) -> None:
    """Take from the log of loading what is worth a warning."""
    if event.name == RULE_IGNORED:
        warnings.append(str(event.fields["rule"]))


async def _load_problems(loaded: Loaded, options: HostOptions) -> tuple[str, ...]:
    async with running_host(options) as host:
        try:
            await host.load(loaded.workers)
        except LoadFailed as error:
            secrets = [value for worker in loaded.workers for value in worker.hidden_values()]
            failure = describe(error, root=source_root(loaded.workers), redactor=Redactor(secrets))
            return failure.problems or (failure_text(failure),)
    return ()


def _show(findings: Findings) -> None:
    if findings.warnings:
        err().print(block("WARNING", "This may not be what you want:", findings.warnings))
    if findings.problems:
        count = len(findings.problems)
        title = f"{count} problem{'s' if count > 1 else ''}:"
        err().print(block("ERROR", title, findings.problems))
    else:
        out().print(Text("No problems found.", "green"))
