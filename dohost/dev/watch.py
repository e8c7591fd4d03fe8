"""Which files matter, and being told when one of them changes.

`is_relevant` decides, on values; `watch` waits, with watchfiles. Source directories are watched with
all below them; a configuration's directory only by itself, because whole data directories and
environments may lie in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import watchfiles

from dohost.config import Loaded

DEBOUNCE_MS = 100
STEP_MS = 20
SOURCE_SUFFIXES = frozenset({".py", ".graphql", ".gql", ".json", ".sql", ".html", ".txt", ".toml"})
_SECRET_PREFIXES = (".dev.vars", ".env")
_CONFIG_NAMES = frozenset({"wrangler.toml", "wrangler.json", "wrangler.jsonc"})
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """`roots` hold source; `config_directories` hold configuration and secrets; `data` is neither.

    `assets` hold static files: a change there changes what is served, and no code.
    """

    roots: frozenset[Path]
    config_directories: frozenset[Path]
    files: frozenset[Path]
    data: Path
    assets: frozenset[Path] = frozenset()


def watched_by(loaded: Loaded, *, data: Path) -> Watched:
    """Return what has to be watched for these Workers."""
    return Watched(
        roots=frozenset(worker.main.parent for worker in loaded.workers if worker.main),
        config_directories=frozenset(path.parent for path in loaded.files),
        files=frozenset(loaded.files),
        data=data.resolve(),
        assets=frozenset(each.assets.directory for each in loaded.workers if each.assets),
    )


def is_relevant(path: Path, watched: Watched) -> bool:
    """Say whether a change of `path` can change what the Workers do."""
    if path in watched.files:
        return True
    if path.is_relative_to(watched.data):
        return False
    if path.parent in watched.config_directories and (
        path.name in _CONFIG_NAMES or path.name.startswith(_SECRET_PREFIXES)
    ):
        return True
    if is_asset(path, watched):
        return True
    if path.suffix not in SOURCE_SUFFIXES:
        return False
    return any(_is_source(path, root) for root in watched.roots)


def is_asset(path: Path, watched: Watched) -> bool:
    """Say whether `path` may be a static file; source that lies among them is source."""
    if path.is_relative_to(watched.data) or (
        path.suffix == ".py" and any(_is_source(path, root) for root in watched.roots)
    ):
        return False
    return any(path.is_relative_to(directory) for directory in watched.assets)


def _is_source(path: Path, root: Path) -> bool:
    if not path.is_relative_to(root):
        return False
    directories = path.relative_to(root).parts[:-1]
    return not any(part in _SKIPPED or part.startswith(".") for part in directories)


async def watch(watched: Watched, changed: Callable[[frozenset[Path]], None]) -> None:
    """Call `changed` with each batch of relevant changed files, until cancelled."""
    roots = watched.roots | watched.assets
    alone = watched.config_directories - roots
    async with asyncio.TaskGroup() as group:
        for directories, recursive in ((roots, True), (alone, False)):
            if directories:
                group.create_task(
                    _watch(directories, changed, watched=watched, recursive=recursive)
                )


async def _watch(
    directories: Iterable[Path],
    changed: Callable[[frozenset[Path]], None],
    *,
    watched: Watched,
    recursive: bool,
) -> None:
    batches = watchfiles.awatch(
        *directories,
        watch_filter=lambda change, path: is_relevant(Path(path), watched),
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        recursive=recursive,
        ignore_permission_denied=True,
    )
    async for batch in batches:
        changed(frozenset(Path(path) for _, path in batch))
