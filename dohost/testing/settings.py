"""What a test runs: the marker's keywords, over `[tool.dohost]` in pyproject.toml, over the nearest wrangler file.

A path in the marker is relative to the test's file, one in pyproject.toml to that file. `main` runs one
module without a wrangler file: its Durable Object classes are bound under their own names, in capitals.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dohost.config import DurableObjectBinding, Loaded, WorkerConfig, load
from dohost.errors import ConfigError

TABLE = "[tool.dohost]"
MARKER = "@pytest.mark.dohost"
_BEFORE_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[tool.dohost]` and of the marker.

    `config`: wrangler files, the primary first. `main`, `bindings`: a module to run instead, and names
    for its classes. `env`: the environment section. `vars`: over the configuration's. `evict_after_s`:
    how long an object may be idle (None: for ever). `strict`: production's limits. `fake_time`: the
    program's own `time` and `datetime` read the test's clock.
    """

    config: str | list[str] | None = None
    main: str | None = None
    bindings: dict[str, str] | None = None
    env: str | None = None
    vars: dict[str, object] = {}
    evict_after_s: float | None = 10.0
    strict: bool = False
    fake_time: bool = True


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The workers that a test runs, the primary first, and how."""

    workers: tuple[WorkerConfig, ...]
    settings: Settings = Settings()
    warnings: tuple[str, ...] = ()


def read_program(directory: Path, marked: Mapping[str, object]) -> Program:
    """Return the program of a test whose file is in `directory` and whose markers say `marked`.

    Raises: ConfigError, naming what to write where.
    """
    table, table_directory = _table(directory)
    if "config" in marked or "main" in marked:
        table = {key: table[key] for key in table if key not in ("config", "main", "bindings")}
    # Each source's paths are made absolute first, as they stand for different places.
    merged = {**_absolute(table, table_directory), **_absolute(marked, directory)}
    settings = _convert(merged)
    if settings.main is not None:
        loaded = Loaded(workers=(_worker_of(Path(settings.main), settings.bindings),))
    else:
        loaded = _configured(settings, directory)
    primary, *others = loaded.workers
    primary = msgspec.structs.replace(primary, vars={**primary.vars, **settings.vars})
    return Program(workers=(primary, *others), settings=settings, warnings=loaded.warnings)


def _configured(settings: Settings, directory: Path) -> Loaded:
    named = [settings.config] if isinstance(settings.config, str) else settings.config
    paths = None if named is None else [Path(each) for each in named]
    try:
        return load(paths, cwd=directory, env=settings.env)
    except ConfigError as error:
        if paths is not None or not error.problems[0].startswith("No wrangler"):
            raise
        raise ConfigError(
            (
                f"The fixture `dohost` has nothing to run: there is no wrangler.toml, wrangler.json or "
                f"wrangler.jsonc in {directory} or above. Add one, or name it: "
                f'{MARKER}(config="../wrangler.toml") on the test, or config = "wrangler.toml" under '
                f'{TABLE} in pyproject.toml. One module alone: {MARKER}(main="counter.py").',
            )
        ) from error


def _table(directory: Path) -> tuple[dict[str, object], Path]:
    """Return `[tool.dohost]` of the nearest pyproject.toml that has one, and where that is."""
    for place in (directory, *directory.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            try:
                tools = tomllib.loads(path.read_text("utf-8")).get("tool", {})
            except tomllib.TOMLDecodeError as error:
                raise ConfigError((f"{path}: {error}",)) from error
            if "dohost" in tools:
                return tools["dohost"], place
    return {}, directory


def _absolute(given: Mapping[str, object], directory: Path) -> dict[str, object]:
    result = dict(given)
    for key in ("config", "main"):
        value = result.get(key)
        if isinstance(value, (str, Path)):
            result[key] = str(directory / value)
        elif isinstance(value, (list, tuple)):
            result[key] = [str(directory / str(each)) for each in value]
    return result


def _convert(given: Mapping[str, object]) -> Settings:
    known = Settings.__struct_fields__
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(
            (
                f"{TABLE} and {MARKER} know no {', '.join(map(repr, unknown))}. "
                f"Known are: {', '.join(known)}.",
            )
        )
    try:
        return msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError((f"{TABLE} or {MARKER}: {error}",)) from error


def _worker_of(main: Path, bindings: Mapping[str, str] | None) -> WorkerConfig:
    try:
        tree = ast.parse(main.read_bytes(), filename=str(main))
    except OSError as error:
        raise ConfigError((f"{MARKER}(main=…): {main} can't be read: {error.strerror}",)) from error
    except SyntaxError as error:
        raise ConfigError((f"{main}:{error.lineno}: {error.msg}",)) from error
    if bindings is None:
        bindings = {_BEFORE_CAPITAL.sub("_", name).upper(): name for name in _objects_in(tree)}
    return WorkerConfig(
        name=main.stem.replace("_", "-").lower(),
        main=main,
        config_path=main.parent / "wrangler.toml",
        compatibility_flags=frozenset({"python_workers"}),
        durable_objects=tuple(
            DurableObjectBinding(name=name, class_name=class_name)
            for name, class_name in bindings.items()
        ),
        classes=dict.fromkeys(bindings.values(), "sqlite"),
    )


def _objects_in(tree: ast.Module) -> list[str]:
    """Return the classes of a module that name DurableObject as a base."""
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).rpartition(".")[2] == "DurableObject" for base in node.bases)
    ]
