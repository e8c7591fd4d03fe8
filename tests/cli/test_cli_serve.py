"""`dohost serve`, in this process: it refuses wrong code, hides failures and stops gracefully."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from pathlib import Path
from typing import Unpack

import click
import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from dohost.cli.dev_view import DevView
from dohost.cli.project import Project, project_options
from dohost.cli.serve import command
from dohost.cli.serve_session import serve_until_stopped
from dohost.cli.server_options import ServerFlags, Serving, project_of, server_options
from dohost.config import Overrides
from dohost.runtime.host import LoadFailed
from dohost.runtime.lock import holder

SERVING = Serving(ip=None, port=0, protocol=None, tls=None, is_strict=False, evict_after_s=10.0)
CODE = """\
from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.endswith("/fail"):
            raise ValueError("a secret of the program")
        if request.url.endswith("/ip"):
            return Response(request.headers.get("cf-connecting-ip"))
        return Response("fine")
"""


class Waiting(DevView):
    """A view whose reader waits for the address."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=200), log_level="log", is_json=False)
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ready(self, url: str, *, has_gateway: bool) -> None:
        super().ready(url, has_gateway=has_gateway)
        self.url.set_result(url)


def make_project(directory: Path, code: str = CODE) -> Project:
    (directory / "entry.py").write_text(code)
    config = {"name": "app", "main": "entry.py", "compatibility_flags": ["python_workers"]}
    (directory / "wrangler.json").write_text(json.dumps(config))
    return Project(cwd=directory)


async def get(url: str, path: str, headers: str = "") -> tuple[int, str]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n".encode()
    )
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body.decode()


async def test_it_serves_hides_failures_and_drains_at_a_signal(tmp_path: Path) -> None:
    view = Waiting()
    project = make_project(tmp_path)
    proxies = ("127.0.0.1",)
    serving = msgspec.structs.replace(SERVING, metrics_to=("198.51.100.0/24",))
    task = asyncio.create_task(
        serve_until_stopped(project, serving, trusted_proxies=proxies, view=view)
    )
    url = await view.url
    assert await get(url, "/") == (200, "fine")
    status, body = await get(url, "/fail")
    assert status == 500
    assert "secret" not in body
    assert await get(url, "/ip", "X-Forwarded-For: 203.0.113.7\r\n") == (200, "203.0.113.7")
    assert (await get(url, "/cdn-cgi/local/scheduled"))[0] == 403
    assert (await get(url, "/cdn-cgi/metrics", "X-Forwarded-For: 203.0.113.7\r\n"))[0] == 403
    status, page = await get(url, "/cdn-cgi/metrics", "X-Forwarded-For: 198.51.100.9\r\n")
    assert status == 200
    assert 'dohost_http_requests_total{status="5xx"} 1' in page
    signal.raise_signal(signal.SIGTERM)
    assert await task == 0
    assert holder(tmp_path / "data") is None


async def test_code_that_does_not_load_ends_it(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="missing"):
        await serve_until_stopped(
            make_project(tmp_path, "missing"), SERVING, trusted_proxies=(), view=Waiting()
        )
    assert holder(tmp_path / "data") is None


def test_a_proxy_that_is_no_address_is_a_usage_error() -> None:
    result = CliRunner().invoke(command, ["--trusted-proxy", "nowhere"])
    assert result.exit_code == 2
    assert "nowhere" in result.output


async def test_a_flag_serves_a_directory_without_code(tmp_path: Path) -> None:
    files = tmp_path / "public"
    files.mkdir()
    (files / "index.html").write_text("home")
    (tmp_path / "wrangler.json").write_text(json.dumps({"name": "site"}))
    project = Project(cwd=tmp_path, overrides=Overrides(assets=files))
    view = Waiting()
    task = asyncio.create_task(serve_until_stopped(project, SERVING, trusted_proxies=(), view=view))
    assert await get(await view.url, "/") == (200, "home")
    signal.raise_signal(signal.SIGTERM)
    assert await task == 0


def test_the_directory_of_a_flag_is_seen_from_where_the_command_is_run(tmp_path: Path) -> None:
    seen: list[Project] = []

    @click.command()
    @server_options
    @project_options
    def probe(script: Path | None, *, project: Project, **flags: Unpack[ServerFlags]) -> None:
        seen.append(project_of(project, script, flags))

    assert CliRunner().invoke(probe, ["--assets", "public"]).exit_code == 0
    assert seen[0].overrides.assets == Path.cwd() / "public"
