"""What commands import: nobody waits for a library that the command doesn't use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The HTTP library alone takes a third of a server's start.
SERVER = {"aiohttp", "dohost.server.app"}
HOST = {"dohost.runtime.host", "uvloop"}
DEVELOPMENT = {"watchfiles", "dohost.dev.watch", "dohost.dev.error_page", "dohost.dev.hotkeys"}
BINDINGS = {
    "dohost.simulators.assets",
    "dohost.simulators.d1",
    "dohost.simulators.kv",
    "dohost.simulators.queue",
    "dohost.simulators.r2",
    "dohost.simulators.secrets_store",
}
GATEWAY = {"dohost.gateway", "dohost.federation", "graphql", "jwt", "cryptography"}
FILES = {"pyjson5", "dotenv"}
# Runs the command line; at the end the imported modules are in a file.
RUN = """
import json, sys
from dohost.cli.group import run
code = run(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(sorted(sys.modules), file)
raise SystemExit(code)
"""
PROGRAM = """
from workers import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    pass


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("hello")
"""
CONFIG = """
name = "plain"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
durable_objects.bindings = [{ name = "COUNTER", class_name = "Counter" }]
migrations = [{ tag = "v1", new_sqlite_classes = ["Counter"] }]
"""


def project(root: Path, *, more: str = "") -> Path:
    (root / "entry.py").write_text(PROGRAM)
    (root / "wrangler.toml").write_text(CONFIG + more)
    return root


def imported(root: Path, *arguments: str, ended_by: str | None = None) -> set[str]:
    """Run a command in `root`; return the modules that its process has imported.

    `ended_by`: the line of a server's output at which it is told to stop.
    """
    found = root / "modules.json"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(found), *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    with process:
        output = ""
        for line in process.stdout:
            output += line
            if ended_by is not None and ended_by in line:
                process.terminate()
        assert process.wait() == 0, output
    assert ended_by is None or ended_by in output, output
    return set(json.loads(found.read_text()))


def test_help_imports_no_command(tmp_path: Path) -> None:
    modules = imported(tmp_path, "--help")
    assert "click" in modules
    assert not modules & {"msgspec", "rich", "asyncio", *SERVER, *HOST}


def test_listing_objects_needs_no_host_and_no_server(tmp_path: Path) -> None:
    modules = imported(project(tmp_path), "objects", "ls")
    unused = SERVER | HOST | DEVELOPMENT | BINDINGS | GATEWAY | FILES
    assert not modules & {*unused, "urllib.request"}


def test_a_check_needs_no_server(tmp_path: Path) -> None:
    modules = imported(project(tmp_path), "check")
    assert "dohost.runtime.host" in modules
    assert not modules & (SERVER | DEVELOPMENT | BINDINGS | GATEWAY | FILES)


def test_a_server_imports_no_binding_that_its_workers_lack(tmp_path: Path) -> None:
    modules = imported(project(tmp_path), "serve", "--port", "0", ended_by="Ready on")
    assert modules >= SERVER | HOST
    assert not modules & {*DEVELOPMENT, *BINDINGS, *GATEWAY, *FILES, "aiohttp.web"}


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("kv", 'kv_namespaces = [{ binding = "B", id = "b" }]'),
        ("d1", 'd1_databases = [{ binding = "B", database_id = "b", database_name = "b" }]'),
        ("r2", 'r2_buckets = [{ binding = "B", bucket_name = "bucket" }]'),
        ("queue", 'queues.producers = [{ binding = "B", queue = "b" }]'),
    ],
)
def test_a_bound_kind_is_imported_alone(tmp_path: Path, kind: str, line: str) -> None:
    modules = imported(project(tmp_path, more=line), "check")
    assert modules & BINDINGS == {f"dohost.simulators.{kind}"}


def test_a_gateway_without_issuers_imports_no_signatures(tmp_path: Path) -> None:
    more = 'vars.GATEWAY = { services = { c = "COUNTER" }, routes = { "/api/*" = "COUNTER" } }'
    modules = imported(project(tmp_path, more=more), "check")
    assert not modules & {"jwt", "cryptography"}


def test_what_a_command_imported_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    code = (
        "import gc; from dohost.cli.group import run; run(['path', '--help']); "
        "assert gc.isenabled(); assert gc.get_freeze_count() > 10_000, gc.get_freeze_count()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
