"""Commands that work on objects: the same beside a running server and without one."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_cli_dev import make_project

from dohost.cli import backup
from dohost.cli.assemble import Faces, running_server
from dohost.cli.group import run
from dohost.cli.hosting import run_async, running_host
from dohost.cli.listening import Listening
from dohost.config import load
from dohost.runtime.host import HostOptions
from dohost.runtime.layout import LAYOUT_NAME

ENTRY = """
from workers import DurableObject, Response, WorkerEntrypoint

class Counter(DurableObject):
    async def add(self, by=1):
        count = (await self.ctx.storage.get("count") or 0) + by
        await self.ctx.storage.put("count", count)
        return count

    async def fail(self):
        raise ValueError("no luck")

    async def alarm(self):
        await self.add(100)

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("ok")
"""
Command = Callable[..., str]


@pytest.fixture(params=["beside a server", "without a server"])
def command(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    """Runs one command line in a project and returns its stdout; `code` is what it must exit with."""
    make_project(tmp_path)
    (tmp_path / "src/entry.py").write_text(ENTRY)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, code: int = 0) -> str:
        outcome = run(arguments)
        text = capsys.readouterr()
        assert outcome == code, text.err
        return text.out + text.err

    if request.param == "without a server":
        yield command
        return
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=run_async, args=(_serve(tmp_path, ready, stop),))
    thread.start()
    assert ready.wait(30)
    yield command
    stop.set()
    thread.join(30)


async def _serve(directory: Path, ready: threading.Event, stop: threading.Event) -> int:
    workers = load(None, cwd=directory, process_env={}).workers
    async with running_host(HostOptions(persist=directory / "data")) as host:
        await host.load(workers)
        listening = Listening(ip="127.0.0.1", port=0, is_exact=True)
        faces = Faces(on_request=lambda line: None)
        async with running_server(host, listening, faces=faces, workers=lambda: workers):
            ready.set()
            await asyncio.to_thread(stop.wait, 30)
    return 0


def test_methods_are_called(command: Command) -> None:
    assert command("call", "Counter/a", "add", "5") == "5\n"
    assert command("call", "Counter/a", "add") == "6\n"
    assert "no luck" in command("call", "Counter/a", "fail", code=1)
    assert "Method nope does not exist" in command("call", "Counter/a", "nope", code=1)
    assert "There is no class Nope" in command("call", "Nope/a", "add", code=1)


def test_keys_are_read_and_written(command: Command) -> None:
    command("kv", "put", "Counter/a", "plain", "hello world")
    command("kv", "put", "Counter/a", "list", '[1, {"x": null}]')
    command("kv", "put", "Counter/a", "bytes", '{"$bytes": "AP8="}')
    assert command("kv", "get", "Counter/a", "plain") == '"hello world"\n'
    assert command("kv", "list", "Counter/a", "--prefix", "li") == 'list\t[1,{"x":null}]\n'
    assert json.loads(command("kv", "list", "Counter/a", "--json")) == {
        "bytes": {"$bytes": "AP8="},
        "list": [1, {"x": None}],
        "plain": "hello world",
    }
    command("kv", "delete", "Counter/a", "list")
    assert "has no key 'list'" in command("kv", "get", "Counter/a", "list", code=1)
    assert "has no key 'list'" in command("kv", "delete", "Counter/a", "list", code=1)


def test_the_alarm_is_looked_at_set_and_run(command: Command) -> None:
    assert command("alarm", "get", "Counter/a") == "none\n"
    command("alarm", "set", "Counter/a", "2040-01-01T12:00:00+01:00")
    assert command("alarm", "get", "Counter/a") == "2040-01-01 11:00:00Z\n"
    command("alarm", "run", "Counter/a")
    assert command("kv", "get", "Counter/a", "count") == "100\n"
    assert "has no alarm set" in command("alarm", "run", "Counter/a", code=1)
    command("alarm", "set", "Counter/a", "2208988800000")
    command("alarm", "delete", "Counter/a")
    assert json.loads(command("alarm", "get", "Counter/a", "--json")) == {"due_ms": None}
    assert "is no time" in command("alarm", "set", "Counter/a", "tomorrow", code=2)


def test_one_object_is_shown(command: Command) -> None:
    command("call", "Counter/a", "add")
    text = command("objects", "show", "Counter/a")
    assert "Keys         1" in text
    shown = json.loads(command("objects", "show", "Counter/a", "--json"))
    assert (shown["info"]["name"], shown["keys"], shown["tables"]) == ("a", 1, {})
    assert shown["written_ms"] > 0
    assert "has stored anything" in command("objects", "show", "Counter/nobody", code=1)


def test_export_import_and_removal(command: Command, tmp_path: Path) -> None:
    command("call", "Counter/a", "add", "7")
    assert "Exported Counter/a" in command("objects", "export", "Counter/a", "a.sqlite")
    command("objects", "import", "a.sqlite", "Counter/b")
    assert command("call", "Counter/b", "add") == "8\n"
    assert "exists already" in command("objects", "import", "a.sqlite", "Counter/b", code=1)
    command("objects", "import", "a.sqlite", "Counter/b", "--replace", "--json")
    assert command("call", "Counter/b", "add") == "8\n"
    assert "Deleted Counter/b" in command("objects", "rm", "Counter/b", "--yes")
    assert "has stored nothing" in command("objects", "rm", "Counter/b", "--yes", code=1)
    assert "There is no file" in command("objects", "import", "no.sqlite", "Counter/b", code=1)


def test_a_backup_is_restored_whole_or_in_part(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        command("call", f"Counter/{name}", "add")
    report = json.loads(command("objects", "backup", "saved", "--json"))
    assert (report["objects"], report["problems"]) == (3, [])
    assert (tmp_path / "saved" / LAYOUT_NAME).exists()
    assert "is not empty" in command("objects", "backup", "saved", code=1)
    command("objects", "rm", "Counter/a", "--yes")
    command("call", "Counter/b", "add", "10")
    refused = command("objects", "restore", "saved", code=1)
    assert "2 objects exist already" in refused
    assert "nothing was changed" in refused
    command("objects", "restore", "saved", "Counter/a")
    assert command("call", "Counter/a", "add") == "2\n"
    assert command("call", "Counter/b", "add") == "12\n"
    assert "Restored 3 objects" in command("objects", "restore", "saved", "--replace")
    assert command("call", "Counter/b", "add") == "2\n"
    assert "does not hold Counter/z" in command("objects", "restore", "saved", "Counter/z", code=1)
    assert "is no backup" in command("objects", "restore", "src", code=1)


def test_what_can_not_be_written_is_told_and_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    command("call", "Counter/a", "add")
    (tmp_path / "file").write_text("")
    text = command("objects", "export", "Counter/a", "file/a.sqlite", code=1)
    assert f"can't be copied to {tmp_path}/file/a.sqlite: File exists" in text
    text = command("objects", "backup", "file/backup", code=3)
    assert "backup can't be written: Not a directory" in text
    (tmp_path / "saved").mkdir()
    monkeypatch.setattr(backup, "write_durably", refuse)
    text = command("objects", "backup", "saved", code=3)
    assert "saved can't be written: No space left on device" in text
    assert not (tmp_path / "saved").exists()


def test_the_doctor_verifies_every_file(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        command("call", f"Counter/{name}", "add")
    assert "2 objects verified.\n✔ No problems found." in command("doctor")
    command("call", "Counter/c", "add")
    path = Path(command("path", "Counter/c").strip())
    for each in path.parent.glob(f"{path.stem}.sqlite-*"):
        each.unlink()
    path.write_bytes(b"")
    report = json.loads(command("doctor", "--json", code=1))
    assert report["objects"] == 3
    assert [str(path) in each for each in report["problems"]] == [True]
    assert "1 bytes" not in command("objects", "ls")
    assert "knows 2 objects" in command("catalog", "rebuild", code=1)


def test_the_doctor_names_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    (tmp_path / "src/entry.py").write_text(ENTRY)
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 0
    assert not (tmp_path / "data").exists()
    assert run(["call", "Counter/a", "add"]) == 0
    (path,) = (tmp_path / "data/v3/do/app-Counter").glob("*.sqlite")
    for each in path.parent.iterdir():
        each.unlink()
    for _ in range(2):
        assert run(["doctor"]) == 1
        assert f"{path} is missing; its object is known" in capsys.readouterr().out
