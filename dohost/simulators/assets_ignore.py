"""Patterns of files to leave out, in the language of `.gitignore`; the last that matches decides. Pure.

What is inside a directory that is left out stays out, whatever later patterns say. Case does not count, as
in the library that Cloudflare's tools use.
"""

from __future__ import annotations

import re

_CLASS = re.compile(r"\[(?:!|\^)?\]?[^\]]*\]").match


class IgnorePatterns:
    """The patterns of one file."""

    def __init__(self, text: str) -> None:
        self._patterns = [
            (re.compile(_translate(pattern), re.IGNORECASE | re.DOTALL), is_ignored)
            for pattern, is_ignored in map(_read, text.splitlines())
            if pattern
        ]

    def match(self, name: str) -> bool:
        """Return whether `name` (a path with slashes, none at its ends) is left out."""
        parent, slash, _ = name.rpartition("/")
        if slash and (self._decide(f"{parent}/") or self.match(parent)):
            return True
        return self._decide(name)

    def _decide(self, name: str) -> bool:
        ignored = False
        for pattern, is_ignored in self._patterns:
            if pattern.fullmatch(name):
                ignored = is_ignored
        return ignored


def _read(line: str) -> tuple[str, bool]:
    """Return the pattern of a line, empty if there is none, and whether it leaves files out."""
    line = re.sub(r"(?<!\\)[ \t\r]+$", "", line)
    if line.startswith("#"):
        return "", True
    is_ignored = not line.startswith("!")
    return line if is_ignored else line[1:], is_ignored


def _translate(pattern: str) -> str:
    """Return the regular expression of names; directories' names end with a slash."""
    is_directory = pattern.endswith("/")
    body = pattern.rstrip("/")
    # A slash before the end ties a pattern to the top.
    start = "" if "/" in body else "(?:.*/)?"
    body = body.lstrip("/")
    text, index = "", 0
    while index < len(body):
        matched = re.compile(r"\*\*/|/\*\*$|\*+|\?|\\.|.", re.DOTALL).match(body, index)
        assert matched is not None, "the last alternative takes anything"
        token, index = matched[0], matched.end()
        if token == "[" and (found := _CLASS(body, index - 1)):
            token, index = found[0], found.end()
        text += _token(token)
    return f"{start}{text}{'/' if is_directory else '/?'}"


def _token(token: str) -> str:
    if token == "**/":
        return "(?:.*/)?"
    if token == "/**":
        return "/.+"
    if token[0] == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if token[0] == "[" and len(token) > 2:
        inner = token[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}/]" if inner[0] in "!^" else f"[{inner}]"
    return re.escape(token[1:] if len(token) == 2 and token[0] == "\\" else token)
