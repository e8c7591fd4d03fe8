"""Configuration files to read, and what they are read as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from dohost.config import Loaded, Overrides, WorkerConfig, load
from dohost.errors import ConfigError

BASE: dict[str, object] = {
    "name": "app",
    "main": "entry.py",
    "compatibility_date": "2026-08-01",
    "compatibility_flags": ["python_workers"],
}


def write(
    directory: Path, extra: Mapping[str, object] | None = None, *, name: str = "wrangler.json"
) -> Path:
    (directory / "entry.py").write_text("")
    path = directory / name
    path.write_text(json.dumps(BASE | dict(extra or {}), indent=1))
    return path


def read(
    directory: Path,
    *,
    env: str | None = None,
    overrides: Overrides | None = None,
    process: Mapping[str, str] | None = None,
) -> Loaded:
    return load(None, cwd=directory, env=env, overrides=overrides, process_env=process or {})


def worker_of(
    directory: Path, extra: Mapping[str, object], *, env: str | None = None
) -> WorkerConfig:
    write(directory, extra)
    return read(directory, env=env).workers[0]


def problems_of(
    directory: Path, extra: Mapping[str, object], *, env: str | None = None
) -> tuple[str, ...]:
    write(directory, extra)
    with pytest.raises(ConfigError) as caught:
        read(directory, env=env)
    return caught.value.problems
