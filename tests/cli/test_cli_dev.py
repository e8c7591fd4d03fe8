"""`dohost dev`, in this process: it starts, heals, refuses and stops."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from dohost.cli.assemble import Faces, running_server
from dohost.cli.dev_session import ASSETS_UPDATED, DevFlags, serve, shown_url
from dohost.cli.dev_view import DevView
from dohost.cli.group import run
from dohost.cli.hosting import running_host
from dohost.cli.listening import Listening, listening_of
from dohost.cli.project import Project, source_root
from dohost.cli.server_options import Serving
from dohost.config import DevConfig, Loaded, WorkerConfig
from dohost.errors import CallerError, ConfigError, DataDirLocked, UserCodeError
from dohost.runtime.host import HostOptions
from dohost.runtime.lock import DataDirLock, LockInfo, holder
from dohost.server.app import RequestLine

SOURCE = """\
from workers import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("value") or 0) + STEP
        await self.ctx.storage.put("value", value)
        return value


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(str(await self.env.COUNTER.getByName("visits").increment()))
"""
CONFIG = {
    "name": "app",
    "main": "src/entry.py",
    "compatibility_date": "2026-08-01",
    "compatibility_flags": ["python_workers"],
    "durable_objects": {"bindings": [{"name": "COUNTER", "class_name": "Counter"}]},
    "migrations": [{"tag": "v1", "new_sqlite_classes": ["Counter"]}],
}
SERVING = Serving(ip=None, port=0, protocol=None, tls=None, is_strict=False, evict_after_s=10.0)
FLAGS = DevFlags(serving=SERVING, is_watching=True, opens_browser=False)


class Watcher(DevView):
    """A view whose reader can wait for what it says."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=200), log_level="log", is_json=False)
        self.events: asyncio.Queue[str] = asyncio.Queue()

    def ready(self, url: str, *, has_gateway: bool) -> None:
        super().ready(url, has_gateway=has_gateway)
        self.events.put_nowait(f"ready {url}")

    def reloaded(self, loaded: Loaded, *, duration_ms: float) -> None:
        super().reloaded(loaded, duration_ms=duration_ms)
        self.events.put_nowait("reloaded")

    def say(self, text: str) -> None:
        super().say(text)
        if text == ASSETS_UPDATED:
            self.events.put_nowait("assets")

    def reload_failed(self, error: ConfigError | UserCodeError) -> None:
        super().reload_failed(error)
        self.events.put_nowait("failed")


def make_project(directory: Path, *, step: str = "1") -> Path:
    (directory / "src").mkdir(exist_ok=True)
    save(directory, step=step)
    (directory / "wrangler.json").write_text(json.dumps(CONFIG))
    return directory


def save(directory: Path, *, step: str) -> None:
    (directory / "src" / "entry.py").write_text(f"STEP = {step}\n{SOURCE}")


async def get(url: str, *, path: str = "/", host: str | None = None) -> tuple[int, str]:
    own, _, port = url.removeprefix("http://").partition(":")
    host = own if host is None else host
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body.decode()


async def test_a_syntax_error_keeps_the_old_code_and_the_next_good_save_heals(
    tmp_path: Path,
) -> None:
    make_project(tmp_path)
    view = Watcher()
    task = asyncio.create_task(serve(Project(cwd=tmp_path), FLAGS, view=view))
    url = (await view.events.get()).removeprefix("ready ")
    assert await get(url) == (200, "1")
    save(tmp_path, step="(")
    assert await view.events.get() == "failed"
    assert await get(url) == (200, "2")
    assert "SyntaxError: '(' was never closed" in view.text.getvalue()
    assert "> 1 | STEP = (" in view.text.getvalue()
    save(tmp_path, step="100")
    assert await view.events.get() == "reloaded"
    assert await get(url) == (200, "102")
    signal.raise_signal(signal.SIGTERM)
    assert await task == 0
    assert holder(tmp_path / "data") is None
    assert "[dohost] GET / 200 OK (" in view.text.getvalue()


async def test_a_changed_asset_is_served_without_a_reload(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "public").mkdir()
    config = {**CONFIG, "assets": {"directory": "public", "binding": "ASSETS"}}
    (tmp_path / "wrangler.json").write_text(json.dumps(config))
    view = Watcher()
    task = asyncio.create_task(serve(Project(cwd=tmp_path), FLAGS, view=view))
    url = (await view.events.get()).removeprefix("ready ")
    assert await get(url, path="/new.txt") == (200, "1")
    (tmp_path / "public" / "new.txt").write_text("new")
    assert await view.events.get() == "assets"
    assert await get(url, path="/new.txt") == (200, "new")
    signal.raise_signal(signal.SIGTERM)
    assert await task == 0


async def test_a_reader_that_is_named_knows_the_server_by_any_name(tmp_path: Path) -> None:
    make_project(tmp_path)
    for metrics_to, status in (((), 403), (("127.0.0.1",), 200)):
        view = Watcher()
        serving = msgspec.structs.replace(SERVING, metrics_to=metrics_to)
        flags = DevFlags(serving=serving, is_watching=False, opens_browser=False)
        task = asyncio.create_task(serve(Project(cwd=tmp_path), flags, view=view))
        url = (await view.events.get()).removeprefix("ready ")
        assert (await get(url, path="/cdn-cgi/metrics", host="scraped.test"))[0] == status
        signal.raise_signal(signal.SIGTERM)
        assert await task == 0


async def test_wrong_code_at_the_start_is_answered_with_its_error_and_heals(tmp_path: Path) -> None:
    make_project(tmp_path, step="missing")
    view = Watcher()
    task = asyncio.create_task(serve(Project(cwd=tmp_path), FLAGS, view=view))
    url = (await view.events.get()).removeprefix("ready ")
    status, body = await get(url)
    assert status == 500
    assert "missing" in json.loads(body)["detail"]
    save(tmp_path, step="7")
    assert await view.events.get() == "reloaded"
    assert await get(url) == (200, "7")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder(tmp_path / "data") is None


async def test_a_second_server_on_the_same_data_names_the_first(tmp_path: Path) -> None:
    make_project(tmp_path)
    lock = DataDirLock(tmp_path / "data")
    lock.acquire(LockInfo(pid=4242, url="http://127.0.0.1:8787"))
    try:
        with pytest.raises(DataDirLocked, match=r"process 4242 \(http://127\.0\.0\.1:8787\)"):
            await serve(Project(cwd=tmp_path), FLAGS, view=Watcher())
    finally:
        lock.release()


def test_a_second_server_exits_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    lock = DataDirLock(tmp_path / "data")
    lock.acquire(LockInfo(pid=4242))
    try:
        assert run(["dev", "--port", "0"]) == 1
    finally:
        lock.release()
    assert "is in use by process 4242" in capsys.readouterr().err


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path) -> None:
    make_project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        serving = msgspec.structs.replace(SERVING, port=port)
        flags = DevFlags(serving=serving, is_watching=True, opens_browser=False)
        message = rf"Address already in use \(127\.0\.0\.1:{port}\)\. Please check"
        with pytest.raises(CallerError, match=message):
            await serve(Project(cwd=tmp_path), flags, view=Watcher())
    assert holder(tmp_path / "data") is None


async def test_a_default_port_that_is_taken_gives_way_to_the_next_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listening = Listening(ip="127.0.0.1", port=port, is_exact=False)
        faces = Faces(on_request=lambda line: None)
        async with (
            running_host(HostOptions(persist=tmp_path)) as host,
            running_server(host, listening, faces=faces, workers=lambda: ()) as running,
        ):
            assert running.moved_from == port
            assert running.url != f"http://127.0.0.1:{port}"


def test_flags_win_over_the_configuration() -> None:
    loaded = _loaded(DevConfig(ip="localhost", port=9000, is_port_set=True))
    own = listening_of(loaded, msgspec.structs.replace(SERVING, port=None))
    assert (own.ip, own.port, own.is_exact) == ("127.0.0.1", 9000, True)
    flagged = listening_of(loaded, msgspec.structs.replace(SERVING, port=1, ip="::1"))
    assert (flagged.ip, flagged.port, flagged.is_exact) == ("::1", 1, True)


def test_https_needs_a_certificate() -> None:
    with pytest.raises(CallerError, match="--https-cert-path"):
        listening_of(_loaded(DevConfig(local_protocol="https")), SERVING)


def test_the_source_root_holds_every_worker() -> None:
    first = WorkerConfig(name="a", main=Path("/p/a/src/x.py"), config_path=Path("/p/a/w"))
    second = WorkerConfig(name="b", main=Path("/p/b/y.py"), config_path=Path("/p/b/w"))
    assert source_root((first,)) == Path("/p/a/src")
    assert source_root((first, second)) == Path("/p")
    assert shown_url("http://127.0.0.1:8787") == "http://localhost:8787"


def _loaded(dev: DevConfig) -> Loaded:
    worker = WorkerConfig(name="a", main=Path("/p/x.py"), config_path=Path("/p/w"), dev=dev)
    return Loaded(workers=(worker,))


def view_with(log_level: str, *, is_json: bool = False) -> tuple[DevView, io.StringIO]:
    text = io.StringIO()
    return DevView(Console(file=text, width=200), log_level=log_level, is_json=is_json), text


@pytest.mark.parametrize(
    ("log_level", "shows_requests", "shows_errors"),
    [
        ("debug", True, True),
        ("log", True, True),
        ("info", True, True),
        ("warn", False, True),
        ("error", False, True),
        ("none", False, False),
    ],
)
def test_the_log_level_decides_what_is_shown(
    log_level: str, *, shows_requests: bool, shows_errors: bool
) -> None:
    view, text = view_with(log_level)
    assert view.shows_requests == shows_requests
    view.request(RequestLine(method="GET", path="/x", status=200, duration_ms=1))
    view.failed(ValueError("bad"))
    assert ("GET /x" in text.getvalue()) == shows_requests
    assert ("ValueError: bad" in text.getvalue()) == shows_errors


def test_json_logs_are_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    view, text = view_with("log", is_json=True)
    view.ready("http://localhost:1", has_gateway=False)
    view.request(RequestLine(method="GET", path="/x?secret=1", status=200, duration_ms=1))
    view.request(
        RequestLine(method="POST", path="/cdn-cgi/local/api/sql", status=200, duration_ms=1)
    )
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["server.ready", "request"]
    assert events[1]["path"] == "/x"
    assert text.getvalue() == ""


def test_a_warning_is_shown_once_and_again_when_it_changes() -> None:
    view, text = view_with("log")
    worker = WorkerConfig(name="a", main=Path("/p/x.py"), config_path=Path("/p/w"))
    for warnings in (("one",), ("one",), ("one", "two")):
        view.findings(Loaded(workers=(worker,), warnings=warnings, notes=("note",)))
    assert (text.getvalue().count("- one"), text.getvalue().count("- two")) == (1, 1)
    assert text.getvalue().count("note") == 1
