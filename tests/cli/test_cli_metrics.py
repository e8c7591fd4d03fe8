"""`/cdn-cgi/metrics` of a running server: real work moves the right figures, and no program is in the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from exposition_grammar import Page, parse

from dohost.cli.assemble import Faces, running_server
from dohost.cli.dev import command as dev
from dohost.cli.hosting import running_host
from dohost.cli.listening import Listening
from dohost.cli.process_figures import read_process
from dohost.cli.serve import command as serve
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.runtime.host import Host, HostOptions, LoadFailed
from dohost.telemetry import Log

CODE = """\
import time
from urllib.parse import urlsplit

from js import WebSocketPair
from workers import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    async def fetch(self, request):
        client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server)
        return Response(None, status=101, web_socket=client)

    async def increment(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    async def end(self):
        self.ctx.abort("ended")

    async def wake_up(self):
        await self.ctx.storage.setAlarm(int(time.time() * 1000))

    async def alarm(self, info):
        pass


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        what = urlsplit(request.url).path[1:]
        stub = self.env.COUNTER.getByName("secret-customer")
        if what.startswith("cdn-cgi"):
            return Response("the program's own", status=404)
        if what == "socket":
            return await stub.fetch(request)
        return Response(str(await getattr(stub, what)()))
"""


class Site:
    """A running server and a client of it."""

    def __init__(self, host: Host, url: str, http: aiohttp.ClientSession) -> None:
        self.host = host
        self.url = url
        self.http = http

    async def status(self, path: str, **headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(self.url + path, headers=fields) as answer:
            await answer.read()
            return answer.status

    async def page(self) -> Page:
        async with self.http.get(f"{self.url}/cdn-cgi/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = await answer.text()
        assert "secret-customer" not in text
        return parse(text)


@contextlib.asynccontextmanager
async def running(directory: Path, code: str = CODE) -> AsyncIterator[Site]:
    main = directory / "entry.py"
    main.write_text(code)
    worker = WorkerConfig(
        name="app",
        main=main,
        config_path=directory / "wrangler.toml",
        durable_objects=(DurableObjectBinding(name="COUNTER", class_name="Counter"),),
        classes={"Counter": "sqlite"},
    )
    options = HostOptions(persist=directory / "data", log=Log(lambda event: None))
    faces = Faces(on_request=None)
    listening = Listening(ip="127.0.0.1", port=0, is_exact=True)
    async with (
        running_host(options) as host,
        running_server(host, listening, faces=faces, workers=lambda: (worker,)) as server,
        aiohttp.ClientSession() as http,
    ):
        with contextlib.suppress(LoadFailed):
            await host.load((worker,))
        yield Site(host, server.url, http)


async def test_real_work_moves_the_right_figures(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        before = await site.page()
        statuses = await asyncio.gather(*(site.status("/increment") for _ in range(20)))
        assert statuses == [200] * 20
        assert await site.status("/end") == 500
        assert await site.status("/wake_up") == 200
        alarms = site.host.parts.alarms
        async with site.http.ws_connect(f"{site.url}/socket"), asyncio.timeout(10):
            while alarms.known or alarms.running or site.host.lag.total < 2:
                await asyncio.sleep(0.01)
            after = await site.page()

    def grew(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    of_class = {"worker": "app", "class_": "Counter"}
    # The page of before is in the page of after; no page is in itself.
    assert grew("dohost_http_requests_total", status="2xx") == 20 + 1 + 1
    assert grew("dohost_http_requests_total", status="5xx") == 1
    assert grew("dohost_http_requests_total", status="1xx") == 1
    assert grew("dohost_http_request_duration_seconds_count") == 24
    assert after.value("dohost_http_requests_in_flight") == 1
    assert after.value("dohost_connections", protocol="websocket") == 1
    assert after.value("dohost_connections_accepted_total") >= after.value(
        "dohost_connections", protocol="http"
    )
    assert grew("dohost_object_calls_total", **of_class) == 20 + 1 + 1 + 1
    assert after.value("dohost_object_resets_total", cause="program", **of_class) == 1
    assert after.value("dohost_objects_live", **of_class) == 1
    assert after.value("dohost_objects_known", **of_class) == 1
    assert after.value("dohost_websockets", state="awake", **of_class) == 1
    commits = grew("dohost_commits_total")
    assert 3 <= commits <= 20 + 3
    assert 1 <= grew("dohost_sync_duration_seconds_count") <= commits
    assert after.value("dohost_sync_duration_seconds_sum") > 0
    assert after.value("dohost_alarm_runs_total", end="done") == 1
    assert after.value("dohost_alarms") == 0
    assert after.value("dohost_loop_lag_seconds_count") >= 2
    assert grew("process_cpu_seconds_total") > 0


async def test_a_program_is_never_asked_nor_needed_for_the_page(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        assert await site.status("/cdn-cgi/other") == 404
        await site.page()
    async with running(tmp_path, "this is no Python") as site:
        assert await site.status("/increment") == 500
        page = await site.page()
    assert page.value("dohost_code_loads_total") == 0
    assert page.value("dohost_code_load_failures_total") == 1


async def test_no_other_site_reads_the_page(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": "evil.example"},
            {"X_Forwarded_For": "203.0.113.7"},
        ):
            assert await site.status("/cdn-cgi/metrics", **headers) == 403


def test_this_process_takes_memory_and_descriptors_while_files_are_open() -> None:
    before = read_process()
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(Path("/dev/null").open())
        during = read_process()
    assert before.descriptors is not None
    # Other threads of this process may open and close some meanwhile.
    assert during.descriptors == pytest.approx(before.descriptors + 100, abs=20)
    assert before.cpu_s <= during.cpu_s
    if before.resident_bytes is not None:
        assert 10_000_000 < before.resident_bytes < 10_000_000_000


def test_what_a_system_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("dohost.cli.process_figures.os.listdir", refuse)
    monkeypatch.setattr("dohost.cli.process_figures.Path.read_bytes", refuse)
    found = read_process()
    assert (found.resident_bytes, found.descriptors) == (None, None)


@pytest.mark.parametrize("command", [dev, serve])
def test_a_reader_that_is_no_address_is_a_usage_error(command) -> None:
    result = CliRunner().invoke(command, ["--metrics-to", "nowhere"])
    assert result.exit_code == 2
    assert "nowhere" in result.output
