"""The product half runs without the host half, as it must on Cloudflare's network.

A process of its own refuses every other room of dohost and every library that only the host has,
then imports the gateway, federation and the services, reads the project's configuration with
them and composes their schemas. Nothing here knows what the host would have supplied.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

BLOCK = """
from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

PORTABLE = {"clock", "errors", "federation", "gateway", "memo", "telemetry"}
HOST_ONLY = {
    "aiohttp", "aiosqlite", "apsw", "click", "dotenv", "greenlet", "pyjson5", "rich", "uvloop", "watchfiles",
    "multidict", "sqlite3", "yarl",
}


class HostIsAbsent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        if top in HOST_ONLY or (top == "dohost" and rest and rest.split(".")[0] not in PORTABLE):
            raise ModuleNotFoundError(f"{name} is not there on Cloudflare", name=name)
        return None


for name in list(sys.modules):
    if name.partition(".")[0] in HOST_ONLY:
        del sys.modules[name]
sys.meta_path.insert(0, HostIsAbsent())
"""

CHECK = """
import pkgutil
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import dohost.federation
import dohost.gateway
import entry

for package in (dohost.federation, dohost.gateway):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        import_module(found.name)
config = tomllib.loads(Path("wrangler.toml").read_text())
bindings = {each["name"]: object() for each in config["durable_objects"]["bindings"]}
for binding in config["durable_objects"]["bindings"]:
    assert hasattr(entry, binding["class_name"]), binding
problems = entry.check(SimpleNamespace(**config["vars"], **bindings))
assert not problems, problems
"""

PURE = """
import asyncio
from workers import DurableObject, Headers, Request, Response

assert asyncio.run(Response.json({"a": [1]}).json()) == {"a": [1]}
assert Headers({"A": "b"})["a"] == "b"
"""


def run_without_the_host(program: str) -> None:
    """Run `program` where the host's rooms and libraries can't be imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCK + program],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "services"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr


def test_the_gateway_federation_and_the_services_run_without_the_host() -> None:
    run_without_the_host(CHECK)


def test_the_workers_api_runs_without_the_host() -> None:
    run_without_the_host(PURE)


def test_the_block_is_a_block() -> None:
    run_without_the_host(
        """
for name in ("aiohttp", "dohost.storage", "dohost.runtime.host"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} could be imported")
"""
    )
