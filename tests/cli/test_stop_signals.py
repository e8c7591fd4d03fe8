"""Signals that end a server, at the moments at which it is easy to miss one."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from dohost.cli.dev_session import DevFlags, serve
from dohost.cli.dev_view import DevView
from dohost.cli.project import Project
from dohost.cli.serve_session import serve_until_stopped
from dohost.cli.server_options import Serving
from dohost.cli.stop_signals import on_stop_signal

SERVING = Serving(ip=None, port=0, protocol=None, tls=None, is_strict=False, evict_after_s=10.0)
CODE = "from workers import WorkerEntrypoint\n\n\nclass Default(WorkerEntrypoint):\n    pass\n"


class Impatient(DevView):
    """A view whose reader stops the server as soon as it is ready."""

    def __init__(self) -> None:
        console = Console(file=io.StringIO(), width=200)
        super().__init__(console, log_level="log", is_json=False)

    def ready(self, url: str, *, has_gateway: bool) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def missed() -> Iterator[list[int]]:
    """Collect what would have ended the process at once."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def project_in(directory: Path) -> Project:
    (directory / "entry.py").write_text(CODE)
    config = {"name": "app", "main": "entry.py", "compatibility_flags": ["python_workers"]}
    (directory / "wrangler.json").write_text(json.dumps(config))
    return Project(cwd=directory)


async def test_serve_stops_for_a_signal_at_the_moment_of_ready(
    tmp_path: Path, missed: list[int]
) -> None:
    serving = serve_until_stopped(
        project_in(tmp_path), SERVING, trusted_proxies=(), view=Impatient()
    )
    async with asyncio.timeout(5):
        assert await serving == 0
    assert not missed


async def test_dev_stops_for_a_signal_at_the_moment_of_ready(
    tmp_path: Path, missed: list[int]
) -> None:
    flags = DevFlags(serving=SERVING, is_watching=False, opens_browser=False)
    async with asyncio.timeout(5):
        assert await serve(project_in(tmp_path), flags, view=Impatient()) == 0
    assert not missed


async def test_afterwards_signals_have_their_usual_effect(missed: list[int]) -> None:
    stopped = asyncio.Event()
    with on_stop_signal(stopped.set):
        pass
    # The loop has put the default effect back, which the fixture's is no longer.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not stopped.is_set()
