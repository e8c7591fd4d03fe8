"""Ids and file names equal those of the real `wrangler dev`, found out by running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import peers, run
from tests.benchmarks.servers import running

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

NAMES = ("alice", "Alice", "a b", "%C3%A9")


def object_files(data: Path) -> set[str]:
    """Return the objects' files below a data directory, as paths relative to it."""
    found = (path.relative_to(data) for path in data.glob("v3/do/*/*.sqlite"))
    return {str(path) for path in found if path.name != "metadata.sqlite"}


def test_the_same_worker_class_and_name_give_the_same_file(tmp_path: Path) -> None:
    installed = peers.install()
    if isinstance(installed, peers.Unavailable):
        pytest.skip(f"NOT COMPARED WITH WRANGLER: {installed.reason}")
    commands = (peers.wrangler_dev(installed, home=tmp_path / "home"), run.dohost_command())
    files = []
    for command in commands:
        data = tmp_path / command.name.replace(" ", "-")
        with running(command, data=data) as server:
            for name in NAMES:
                assert server.ask("GET", f"/increment/{name.replace(' ', '%20')}").status == 200
        files.append(object_files(data))
    assert files[0] == files[1]
    assert len(files[0]) == len(NAMES)
