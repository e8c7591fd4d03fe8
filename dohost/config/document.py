"""Configuration files as data: finding, parsing, and naming places in them.

A `Document` is a parsed file that can say where a key path stands (`wrangler.toml:12`). Syntax
errors become `ConfigError` here, with the line; nothing here knows what any key means.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from dohost.config.lines import KeyPath, find_lines
from dohost.errors import ConfigError

FILE_NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_JSON_TOKEN = re.compile(r"b'(\w+)'")
_JSON_PLACE = re.compile(r"near (\d+)")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed file; `label` is its path as messages show it."""

    path: Path
    label: str
    dialect: Literal["toml", "json"]
    text: str
    data: dict[str, object]

    def place(self, key_path: KeyPath) -> str:
        """Return `file:line` of the key, or of the nearest enclosing key that has a line."""
        lines = find_lines(self.text, self.dialect)
        while key_path and key_path not in lines:
            key_path = key_path[:-1]
        return f"{self.label}:{lines[key_path]}" if key_path else self.label


def find_config(cwd: Path) -> Path:
    """Return the nearest wrangler file in `cwd` or a directory above.

    Raises:
        ConfigError: there is none.
    """
    for path in _candidates(cwd):
        if path.is_file():
            return path
    raise ConfigError(
        (
            f"No wrangler.toml, wrangler.json or wrangler.jsonc in {cwd} or any directory above. "
            "Run in your project's directory, or name the file with --config.",
        )
    )


def _candidates(cwd: Path) -> Iterator[Path]:
    for directory in (cwd, *cwd.parents):
        for name in FILE_NAMES:
            yield directory / name


def read_document(path: Path, *, cwd: Path) -> Document:
    """Parse one configuration file.

    Raises:
        ConfigError: it can't be read, its syntax is wrong, or its top level is not a table.
    """
    label = shown_path(path, cwd=cwd)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError((f"{label}: can't be read: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((f"{label}: is not UTF-8 text (byte {error.start})",)) from error
    is_toml = path.suffix == ".toml"
    data = _parse_toml(text, label) if is_toml else _parse_json(text, label)
    return Document(
        path=path, label=label, dialect="toml" if is_toml else "json", text=text, data=data
    )


def shown_path(path: Path, *, cwd: Path) -> str:
    """Return `path` relative to `cwd` where that is not longer."""
    absolute = str(path)
    relative = os.path.relpath(absolute, cwd)
    return min(relative, absolute, key=len)


def _parse_toml(text: str, label: str) -> dict[str, object]:
    import tomllib  # lazy, as the other: a project has one kind of configuration

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        if place is None:
            raise ConfigError((f"{label}: {message}",)) from error
        reason = message[: place.start()].strip()
        frame = _frame(text, line=int(place[1]), column=int(place[2]))
        raise ConfigError((f"{label}:{place[1]}: {reason}\n{frame}",)) from error


def _parse_json(text: str, label: str) -> dict[str, object]:
    import pyjson5  # lazy

    try:
        data = pyjson5.decode(text)
    except pyjson5.Json5DecoderException as error:
        message = _JSON_TOKEN.sub(r"\1", str(error.args[0]))
        place = _JSON_PLACE.search(message)
        position = min(int(place[1]) - 1, len(text)) if place else len(text)
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        frame = _frame(text, line=line, column=column)
        raise ConfigError(
            (f"{label}:{line}: the JSON is not valid: {message}\n{frame}",)
        ) from error
    if not isinstance(data, dict):
        raise ConfigError((f'{label}:1: expected an object with keys such as "name" and "main"',))
    return data


def _frame(text: str, *, line: int, column: int) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    gutter = f"    {line} | "
    return f"{gutter}{shown}\n{' ' * (len(gutter) + column - 1)}^"
