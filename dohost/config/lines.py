"""Which line of a configuration file a key stands on.

Parsers drop positions, and a message without a line makes people search. This scanner walks text
that has already been parsed without error, so it checks nothing: it only remembers where each key
and each list item begins. It knows TOML and JSON with comments, nothing of what keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

KeyPath = tuple[str | int, ...]

_BLANK = {
    "toml": re.compile(r"(?:[\s,]|#[^\n]*)*"),
    "json": re.compile(r"(?:[\s,]|//[^\n]*|/\*.*?\*/)*", re.DOTALL),
}
_STRING = re.compile(
    r"""\"{3}.*?(?<!\\)\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL
)
_KEY_PART = re.compile(r"[^\s.=:\[\]{}\"'#,]+")
_BETWEEN_PARTS = re.compile(r"[ \t]*\.[ \t]*")
_SEPARATOR = re.compile(r"\s*[=:]")
_SCALAR = re.compile(r"[^\s,\]}#]+")
_TOML_HEADER = re.compile(r"(\[\[?)[ \t]*")


def find_lines(text: str, dialect: Literal["toml", "json"]) -> dict[KeyPath, int]:
    """Return the line (from 1) of every key path and list item in `text`, which must be valid."""
    scanner = _Scanner(text, dialect)
    if dialect == "toml":
        scanner.toml_document()
    else:
        scanner.value(())
    starts = scanner.starts
    return {path: text.count("\n", 0, position) + 1 for path, position in starts.items()}


class _Scanner:
    def __init__(self, text: str, dialect: Literal["toml", "json"]) -> None:
        self.starts: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._blank = _BLANK[dialect]
        self._item_counts: dict[KeyPath, int] = {}

    def toml_document(self) -> None:
        table: KeyPath = ()
        for char in self._tokens():
            if char == "[":
                table = self._toml_header()
            else:
                self._pair(table)

    def _toml_header(self) -> KeyPath:
        start = self._at
        opening = _TOML_HEADER.match(self._text, self._at)
        assert opening is not None, "called only at a bracket"
        self._at = opening.end()
        parts = self._key()
        self._at = self._text.index("]" * len(opening[1]), self._at) + len(opening[1])
        path: KeyPath = ()
        for part in parts[:-1]:
            path = self._last_item((*path, part))
        path = (*path, parts[-1])
        self.starts.setdefault(path, start)
        if len(opening[1]) == 2:
            self._item_counts[path] = self._item_counts.get(path, 0) + 1
            path = self._last_item(path)
            self.starts[path] = start
        return path

    def _last_item(self, path: KeyPath) -> KeyPath:
        count = self._item_counts.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            self.starts.setdefault(path, start)
        separator = _SEPARATOR.match(self._text, self._at)
        if separator is None:  # the second half of a TOML date with a space in it
            self._at = max(self._at, start + 1)
            return
        self._at = separator.end()
        self.value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            if quoted := _STRING.match(self._text, self._at):
                parts.append(quoted[0][1:-1])
                self._at = quoted.end()
            elif bare := _KEY_PART.match(self._text, self._at):
                parts.append(bare[0])
                self._at = bare.end()
            else:
                return parts
            dot = _BETWEEN_PARTS.match(self._text, self._at)
            if dot is None:
                return parts
            self._at = dot.end()

    def value(self, path: KeyPath) -> None:
        self._skip_blank()
        self.starts.setdefault(path, self._at)
        char = self._text[self._at : self._at + 1]
        if char == "{":
            self._at += 1
            for _ in self._tokens(until="}"):
                self._pair(path)
        elif char == "[":
            self._at += 1
            for index, _ in enumerate(self._tokens(until="]")):
                self.value((*path, index))
        elif match := _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at):
            self._at = match.end()

    def _tokens(self, *, until: str = "") -> Iterator[str]:
        """Yield the first character of each element up to and past the closing `until`."""
        while True:
            self._skip_blank()
            char = self._text[self._at : self._at + 1]
            if char in {"", until}:
                self._at += len(char)
                return
            before = self._at
            yield char
            if self._at == before:  # never loop for ever on text that we misread
                self._at += 1

    def _skip_blank(self) -> None:
        match = self._blank.match(self._text, self._at)
        assert match is not None, "the pattern matches the empty string"
        self._at = match.end()
