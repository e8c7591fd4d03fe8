"""`dohost types`: what it writes, and that a type checker believes it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dohost.cli.group import run

CONFIG = """
name = "app"
main = "src/entry.py"
compatibility_date = "2026-02-01"
compatibility_flags = ["python_workers"]
services = [
  { binding = "SELF", service = "app", entrypoint = "Named" },
  { binding = "ELSEWHERE", service = "other" },
]
kv_namespaces = [{ binding = "CACHE", id = "1" }]

[vars]
GREETING = "hello"
LIMITS = { per_minute = 10 }

[[durable_objects.bindings]]
name = "COUNTER"
class_name = "Counter"

[[durable_objects.bindings]]
name = "THEIRS"
class_name = "Elsewhere"
script_name = "other"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["Counter"]
"""
ENTRY = """
from __future__ import annotations
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from workers import DurableObject, Response, WorkerEntrypoint
from shapes import Change

if TYPE_CHECKING:
    from worker_types import Env

class Counter(DurableObject):
    def add(
        self, change: Change, mode: Literal["fast", "slow"] = "fast", *more: int, key: int = 1
    ) -> int:
        return change["by"]
    async def list(self, limit: int | None = None) -> Sequence[dict[str, int]]:
        return []
    async def shapes(self) -> Change:
        return {"by": 1}
    def untyped(self, value):
        return value
    def hidden(self, env: Env) -> None: ...
    def _private(self) -> None: ...

class Named(WorkerEntrypoint):
    def ping(self) -> str:
        return "pong"

class Default(WorkerEntrypoint):
    env: Env
    async def fetch(self, request):
        count: int = await self.env.COUNTER.getByName("a").add({"by": 1}, "slow", 2)
        rows = await self.env.COUNTER.get(self.env.COUNTER.idFromName("a")).list()
        text: str = self.env.GREETING + await self.env.SELF.ping() + str(rows[0]["n"] + count)
        return Response(text)
"""
SHAPES = """
from typing import TypedDict

class Change(TypedDict):
    by: int
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "src"
    source.mkdir()
    (tmp_path / "wrangler.toml").write_text(CONFIG)
    (source / "entry.py").write_text(ENTRY)
    (source / "shapes.py").write_text(SHAPES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bindings_get_the_types_of_their_classes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["types"]) == 0
    path = project / "src/worker_types.pyi"
    assert capsys.readouterr().out == f"Wrote {path}\n"
    text = path.read_text()
    ast.parse(text)
    assert text.endswith(
        """
class Env:
    GREETING: str
    LIMITS: dict[str, Any]
    COUNTER: DurableObjectNamespace[CounterStub]
    THEIRS: DurableObjectNamespace[DurableObjectStub]
    SELF: NamedStub
    ELSEWHERE: Fetcher
    CACHE: Any
"""
    )
    lines = {line.strip() for line in text.splitlines()}
    assert (
        "def add(self, change: _shapes.Change, mode: _typing.Literal['fast', 'slow'] = ..., /, "
        "*more: _builtins.int) -> Awaitable[_builtins.int]: ..."
    ) in lines
    assert "def untyped(self, value: Any, /) -> Awaitable[Any]: ..." in lines
    # Its annotation is there for type checkers only.
    assert "def hidden(self, env: Any, /) -> Awaitable[Any]: ..." in lines
    assert "_private" not in text


def test_types_can_be_printed_instead(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["types", "--print"]) == 0
    assert "class CounterStub(DurableObjectStub):" in capsys.readouterr().out
    assert not (project / "src/worker_types.pyi").exists()


@pytest.mark.long
def test_a_type_checker_follows_calls_into_classes(project: Path) -> None:
    assert run(["types"]) == 0

    def check() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--check-untyped-defs", "entry.py"],
            cwd=project / "src",
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert "Success" in check()
    entry = project / "src/entry.py"
    entry.write_text(entry.read_text().replace('"slow", 2', '"slower", 2'))
    assert "incompatible type \"Literal['slower']\"" in check()
