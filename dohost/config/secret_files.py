"""Secrets files: which are read, in what order, and what they say.

The one place that reads the process environment. `.dev.vars.<env>` or else `.dev.vars` beside the
configuration; only without either the `.env` family; `--env-file` replaces all of it. python-dotenv
owns the syntax; the look-up and the expansion of `${VAR}` (only in the `.env` family, because real
secrets contain dollar signs) are wrangler's. No message ever repeats a value or a line.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from dohost.config.document import shown_path
from dohost.config.exposure import exposures
from dohost.errors import ConfigError

_LOAD_DOT_ENV = "CLOUDFLARE_LOAD_DEV_VARS_FROM_DOT_ENV"
_INCLUDE_PROCESS = "CLOUDFLARE_INCLUDE_PROCESS_ENV"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Names and values, the files that they came from, and complaints."""

    values: Mapping[str, str] = {}
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    files: tuple[Path, ...]
    is_dot_env: bool


def process_environment() -> Mapping[str, str]:
    """Return the environment that this process was started with."""
    return dict(os.environ)


def read_secrets(
    directory: Path,
    *,
    env: str | None,
    env_files: Sequence[Path],
    process_env: Mapping[str, str],
    cwd: Path,
) -> Secrets:
    """Read the secrets files that apply to a configuration in `directory`.

    Raises:
        ConfigError: a file that was asked for doesn't exist, or one can't be read.
    """
    found = _find(directory, env=env, env_files=env_files, process_env=process_env)
    raw: dict[str, str] = {}
    warnings: list[str] = []
    for path in found.files:
        label = shown_path(path, cwd=cwd)
        raw |= _parse(path, label=label, warnings=warnings)
        warnings += exposures(path, label=label)
    if not found.is_dot_env:
        return Secrets(values=raw, files=found.files, warnings=tuple(warnings))
    values = _expand(raw, process_env)
    if process_env.get(_INCLUDE_PROCESS, "").lower() == "true":
        values |= process_env
    return Secrets(values=values, files=found.files, warnings=tuple(warnings))


def _find(
    directory: Path,
    *,
    env: str | None,
    env_files: Sequence[Path],
    process_env: Mapping[str, str],
) -> _Found:
    if env_files:
        return _Found(files=tuple(env_files), is_dot_env=True)
    names = [f".dev.vars.{env}", ".dev.vars"] if env else [".dev.vars"]
    for name in names:
        if (directory / name).is_file():
            return _Found(files=(directory / name,), is_dot_env=False)
    if process_env.get(_LOAD_DOT_ENV, "").lower() == "false":
        return _Found(files=(), is_dot_env=False)
    family = [".env", ".env.local"]
    if env:
        family += [f".env.{env}", f".env.{env}.local"]
    files = tuple(directory / name for name in family if (directory / name).is_file())
    return _Found(files=files, is_dot_env=True)


def _parse(path: Path, *, label: str, warnings: list[str]) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError((f"{label}: can't be read: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((f"{label}: is not UTF-8 text (byte {error.start})",)) from error
    from dotenv.parser import parse_stream  # lazy: many projects have no secrets

    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        place = f"{label}:{binding.original.line}"
        if binding.error:
            warnings.append(f"{place}: this line is not NAME=value; it is ignored.")
        elif binding.key is not None and binding.value is None:
            warnings.append(f'{place}: "{binding.key}" has no value; it is ignored.')
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _expand(raw: Mapping[str, str], process_env: Mapping[str, str]) -> dict[str, str]:
    if not raw:
        return {}
    from dotenv.variables import parse_variables  # lazy, as above

    known: dict[str, str | None] = dict(process_env)
    values: dict[str, str] = {}
    for name, text in raw.items():
        values[name] = "".join(atom.resolve(known) for atom in parse_variables(text))
        known[name] = values[name]
    return values
