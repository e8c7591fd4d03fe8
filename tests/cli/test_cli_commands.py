"""The other commands: what they print and how they exit."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from test_cli_dev import make_project
from workers import Request

from dohost.cli.assemble import Faces, running_server
from dohost.cli.columns import columns_text, size_text
from dohost.cli.group import COMMANDS, run
from dohost.cli.hosting import run_async, running_host
from dohost.cli.listening import Listening
from dohost.cli.local_client import RemoteObjects, open_objects
from dohost.cli.objects import alarm_text
from dohost.cli.portability import unportable_imports
from dohost.cli.project import Project
from dohost.config import load
from dohost.errors import CallerError
from dohost.runtime.host import HostOptions


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one object that has stored something; the current directory."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_async(_visit(tmp_path))
    return tmp_path


async def _visit(directory: Path) -> int:
    workers = load(None, cwd=directory, process_env={}).workers
    async with running_host(HostOptions(persist=directory / "data")) as host:
        await host.load(workers)
        await host.fetch(Request("http://app.test/"))
    return 0


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(arguments) == 0
    return capsys.readouterr().out


def test_objects_are_listed_by_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heading, line = output(capsys, "objects", "ls").splitlines()
    assert heading.split() == ["Class", "Name", "Id", "Size", "Alarm"]
    assert line.split()[:2] == ["Counter", "visits"]
    (item,) = json.loads(output(capsys, "objects", "ls", "Counter", "--json"))
    assert (item["name"], item["is_live"], item["problem"]) == ("visits", False, None)
    assert Path(item["file"]).is_file()


def test_one_object_is_queried_by_name_or_id(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(output(capsys, "path", "Counter/visits").strip())
    assert path.parent == project / "data/v3/do/app-Counter"
    for name in ("visits", path.stem):
        rows = json.loads(
            output(capsys, "sql", f"Counter/{name}", "SELECT key FROM _cf_KV", "--json")
        )
        assert rows == [{"key": "value"}]
    assert output(capsys, "sql", "Counter/visits", "SELECT 1 a, x'ff' b, NULL c", "--csv") == (
        "a,b,c\n1,x'ff',NULL\n"
    )
    assert "_cf_KV" in output(capsys, "sql", "Counter/visits")


def test_an_object_cannot_be_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", "Counter/visits", "DELETE FROM _cf_KV"]) == 1
    assert "opened read-only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sql", "Counter/nobody"], 1, "No object Counter/nobody has stored anything"),
        (["objects", "ls", "Nope"], 1, "There is no class Nope. The classes are: Counter."),
        (["sql", "Counter"], 2, "is not CLASS/NAME"),
        (["dev", "--var", "novalue"], 2, "is not NAME:VALUE"),
        (["dev", "--https-key-path", "x"], 2, "go together"),
        (["nope"], 2, "No such command"),
        (["check", "--env", "x", "--config", "gone.toml"], 1, ""),
    ],
)
def test_exit_codes_say_whose_problem_it_is(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert run(arguments) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Example: " in output(capsys, name, "--help")


def test_questions_go_through_the_server_that_holds_the_data(project: Path) -> None:
    async def ask() -> int:
        workers = load(None, cwd=project, process_env={}).workers
        async with running_host(HostOptions(persist=project / "data")) as host:
            await host.load(workers)
            listening = Listening(ip="127.0.0.1", port=0, is_exact=True)
            faces = Faces(on_request=lambda line: None)
            async with running_server(host, listening, faces=faces, workers=lambda: workers):
                objects = open_objects(Project(cwd=project))
                assert isinstance(objects, RemoteObjects)
                await host.fetch(Request("http://app.test/"))
                (info,) = await asyncio.to_thread(objects.objects)
                assert (info.name, info.is_live) == ("visits", True)
                answer = await asyncio.to_thread(
                    objects.sql, "Counter", "visits", "SELECT count(*), x'01' FROM _cf_KV"
                )
                assert answer.rows[0][0] == 1
                assert (await asyncio.to_thread(objects.path, "Counter", "visits")).is_file()
                with pytest.raises(CallerError, match="There is no class"):
                    await asyncio.to_thread(objects.objects, "Nope")
        return 0

    assert run_async(ask()) == 0


def test_check_finds_nothing_wrong_and_touches_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert output(capsys, "check").strip() == "No problems found."
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = (", "'(' was never closed"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("", "not exported in your entrypoint file: Counter"),
        (
            "from workers import DurableObject\nclass Counter(DurableObject): pass\n"
            "def check(env): return ['the route /x has no upstream']",
            "the route /x has no upstream",
        ),
        ("import threading", 'entry.py:1: import of "threading"'),
    ],
)
def test_check_says_what_would_stop_the_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    source: str,
    message: str,
) -> None:
    make_project(tmp_path)
    (tmp_path / "src/entry.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert run(["check"]) == 1
    assert message in capsys.readouterr().err


def test_check_names_rules_of_assets_that_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    config = json.loads((tmp_path / "wrangler.json").read_text())
    config["assets"] = {"directory": "public"}
    (tmp_path / "wrangler.json").write_text(json.dumps(config))
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "_redirects").write_text("/old /new\nnonsense\n")
    monkeypatch.chdir(tmp_path)
    findings = json.loads(output(capsys, "check", "--json"))
    assert findings["problems"] == []
    (warning,) = findings["warnings"]
    assert "_redirects:2: 2 or 3 words are expected, not 1" in warning


def test_imports_that_cloudflare_lacks_are_named_with_their_lines() -> None:
    source = (
        "import asyncio, json\nfrom dohost.gateway import GatewayDO\nfrom . import socket\n"
        "def f():\n    import socket\nfrom concurrent.futures import Executor\n"
        "from dohost import runtime\nimport dohost.storage.sql\n"
    )
    assert sorted(line for line, _ in unportable_imports(source)) == [5, 6, 7, 8]
    assert unportable_imports("x = (") == []


def test_columns_keep_full_width_and_one_line_per_row() -> None:
    assert columns_text(("A", "B"), [("x\n\x1b[2J", "y" * 300)]) == (
        f"A            B\nx\\n\\x1b[2J   {'y' * 300}"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**2, "5.0 MiB"),
        (1024**5, "1024.0 TiB"),
    ],
)
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert size_text(size) == text
    assert alarm_text(0) == "1970-01-01 00:00:00Z"
