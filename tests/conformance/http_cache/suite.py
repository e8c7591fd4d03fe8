"""The public suite of tests for HTTP caches (`http-cache-tests` of npm) against a gateway before its origin.

    python -m tests.conformance.http_cache.suite

Prints what does not pass, by kind. *required* tests are of the specification, *optimal* ones say what a
cache could do, *check* ones only what it does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.benchmarks.peers import npm_directory
from tests.benchmarks.servers import Command, running

HERE = Path(__file__).parent
PACKAGE = "http-cache-tests@0.4.5"
INSTALL_TIMEOUT_S = 300
RUN_TIMEOUT_S = 300
CONFIG = {
    "name": "cache-suite",
    "main": "entry.py",
    "compatibility_date": "2026-09-08",
    "compatibility_flags": ["python_workers"],
    "durable_objects": {"bindings": [{"name": "GATEWAY_DO", "class_name": "GatewayDO"}]},
    "migrations": [{"tag": "v1", "new_sqlite_classes": ["GatewayDO"]}],
}
GATEWAY = {
    "routes": {"/*": "origin"},
    "rate_limits": {"free": {"rpm": 600_000_000, "burst": 10_000_000}},
    "auth": {"anonymous": "all"},
    "cache": {"heuristic": True},
    # The suite's origin fails on purpose, and often.
    "circuit_breaker": {"threshold": 1_000_000},
}
ENTRY = """
from dohost.gateway import Gateway, entrypoint


class GatewayDO(Gateway):
    pass


Default = entrypoint("GATEWAY_DO")
"""


class Unavailable(Exception):
    """The suite can't be had here."""


class Result(msgspec.Struct, frozen=True):
    """One test: its kind, and what was wrong, if anything was."""

    kind: str
    problem: str | None


def install() -> Path:
    """Return the suite's directory, installing it when first asked. Raises: Unavailable."""
    prefix = npm_directory() / "http-cache"
    package = prefix / "node_modules" / "http-cache-tests"
    if package.exists():
        return package
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    prefix.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(prefix), PACKAGE]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode or not package.exists():
        raise Unavailable(f"npm failed: {done.stderr[-300:]}")
    return package


def run() -> dict[str, Result]:
    """Run every test and return its result by id. Raises: Unavailable."""
    package = install()
    node = shutil.which("node")
    if node is None:
        raise Unavailable("node is not installed")
    origin = Command(
        name="origin",
        arguments=(
            *("env", "npm_config_port={port}", "npm_config_protocol=http"),
            *("npm_config_pidfile=/dev/null", node, "--no-warnings", "server/server.mjs"),
        ),
        directory=package,
        ready_path="/",
    )
    with (
        tempfile.TemporaryDirectory(prefix="cache-suite") as directory,
        running(origin, data=Path(directory) / "origin") as behind,
    ):
        root = Path(directory)
        gateway = {**GATEWAY, "services": {"origin": {"url": f"http://127.0.0.1:{behind.port}"}}}
        (root / "wrangler.json").write_text(json.dumps({**CONFIG, "vars": {"GATEWAY": gateway}}))
        (root / "entry.py").write_text(ENTRY)
        with running(_gateway(root), data=root / "data") as front:
            done = subprocess.run(
                [node, "--no-warnings", str(HERE / "run.mjs"), str(package), f"{front.port}"],
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=True,
            )
    return msgspec.json.decode(done.stdout, type=dict[str, Result])


def _gateway(root: Path) -> Command:
    return Command(
        name="gateway",
        arguments=(
            sys.executable,
            *("-m", "dohost", "serve"),
            *("--port={port}", "--persist-to={data}", "--log-level=error"),
        ),
        directory=root,
        ready_path="/health/live",
    )


def main() -> None:
    """Print what does not pass."""
    results = run()
    failed = sorted(
        (each.kind, name, each.problem) for name, each in results.items() if each.problem
    )
    for kind, name, problem in failed:
        print(f"{kind:9} {name:50} {problem}")
    print(f"{len(results) - len(failed)} of {len(results)} pass")


if __name__ == "__main__":
    main()
