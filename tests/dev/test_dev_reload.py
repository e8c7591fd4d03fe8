"""Reload keeps the last good code, and only relevant files cause one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dohost.config import Loaded, WorkerConfig
from dohost.dev.reload import Reloader
from dohost.dev.watch import Watched, is_relevant, watched_by
from dohost.errors import ConfigError, UserCodeError

ROOT = Path("/p")


def loaded(name: str = "app") -> Loaded:
    worker = WorkerConfig(name=name, main=ROOT / "src/entry.py", config_path=ROOT / "wrangler.toml")
    return Loaded(workers=(worker,), files=(ROOT / "wrangler.toml", ROOT / "settings.env"))


class View:
    def __init__(self) -> None:
        self.said: list[str] = []

    def reloading(self) -> None:
        self.said.append("reloading")

    def reloaded(self, loaded: Loaded, *, duration_ms: float) -> None:
        self.said.append(f"reloaded {loaded.workers[0].name}")

    def reload_failed(self, error: ConfigError | UserCodeError) -> None:
        self.said.append(f"failed {error}")


class Source:
    """Reads what is on 'disk' and applies it, as told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.reads = 0
        self.serving: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.name = "one"

    def read(self) -> Loaded:
        self.reads += 1
        if isinstance(self.error, ConfigError):
            raise self.error
        return loaded(self.name)

    async def apply(self, new: Loaded) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.serving = new.workers[0].name


def reloader(source: Source, view: View) -> Reloader:
    return Reloader(source.read, source.apply, view=view, monotonic=lambda: 0.0)


async def test_what_is_wrong_changes_nothing_and_the_next_good_save_heals() -> None:
    source, view = Source(), View()
    reloads = reloader(source, view)
    assert await reloads.reload()
    for error in (ConfigError(("bad config",)), UserCodeError("bad code")):
        source.error = error
        assert not await reloads.reload()
        assert source.serving == "one"
    source.error, source.name = None, "two"
    assert await reloads.reload()
    assert source.serving == "two"
    assert view.said == [
        "reloading",
        "reloaded one",
        "reloading",
        "failed bad config",
        "reloading",
        "failed bad code",
        "reloading",
        "reloaded two",
    ]


async def test_changes_during_a_reload_are_joined_into_one_more() -> None:
    source, view = Source(), View()
    reloads = reloader(source, view)
    source.gate.clear()
    tasks = [asyncio.create_task(reloads.reload())]
    await asyncio.sleep(0)
    source.name = "newest"
    tasks += [asyncio.create_task(reloads.reload()) for _ in range(3)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*tasks) == [True] * 4
    assert (source.reads, source.serving) == (2, "newest")


async def test_a_bug_of_ours_is_not_taken_for_wrong_code() -> None:
    source, view = Source(), View()
    source.error = RuntimeError("ours")
    with pytest.raises(RuntimeError, match="ours"):
        await reloader(source, view).reload()


async def test_a_cancelled_reload_leaves_the_next_one_free() -> None:
    source, view = Source(), View()
    reloads = reloader(source, view)
    source.gate.clear()
    task = asyncio.create_task(reloads.reload())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    source.gate.set()
    assert await reloads.reload()


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("src/entry.py", True),
        ("src/deep/users.py", True),
        ("src/schema.graphql", True),
        ("src/__pycache__/entry.cpython-311.pyc", False),
        ("src/.git/config.py", False),
        ("src/node_modules/x/y.json", False),
        ("src/log.jsonl", False),
        ("src/data/v3/do/x.json", False),
        ("wrangler.toml", True),
        (".dev.vars.staging", True),
        (".env", True),
        ("settings.env", True),
        ("readme.txt", False),
        ("tests/test_x.py", False),
    ],
)
def test_only_source_configuration_and_secrets_matter(path: str, *, matters: bool) -> None:
    watched = watched_by(loaded(), data=ROOT / "src/data")
    assert isinstance(watched, Watched)
    assert is_relevant(ROOT / path, watched) == matters
