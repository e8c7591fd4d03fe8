"""Rules of static assets: the patterns of `_headers` and `_redirects`, and what is common to both. Pure.

A pattern is a path, or `https://` with a host and a path. `*` takes anything and is known as `:splat`;
`:name` takes one segment. A line that can't be used is left out with a complaint, as by Cloudflare's tools,
and the other lines hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import msgspec
from workers.url import parse

from dohost.errors import JsTypeError

LINE_CHARACTERS_MAX = 2000
_absolute = re.compile(r"https:///*(?P<host>[^/]+)/?(?P<path>.*)").match
_has_port = re.compile(r".*:\d+").fullmatch
_escaped = re.compile(r"[-/\\^$*+?.()|\[\]{}]")
_host_placeholder = re.compile(r"(?<=^https:\\/\\/)([^/]*?):([A-Za-z]\w*)(?=\\)", re.ASCII)
_placeholder = re.compile(r":([A-Za-z]\w*)", re.ASCII)


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is left out, and why."""

    line: int
    why: str


class Invalid(Exception):
    """A rule can't be used; the message says why."""


class Pattern:
    """A compiled pattern; `text` is what it was made of."""

    def __init__(self, text: str) -> None:
        """Raises: re.error if two placeholders have one name."""
        self.text = text
        self._has_host = text.startswith("https://")
        self._expression = re.compile(_expression(text), re.ASCII)

    def match(self, host_name: str, path: str) -> Mapping[str, str] | None:
        """Return what the placeholders stand for, or None."""
        subject = f"https://{host_name}{path}" if self._has_host else path
        matched = self._expression.fullmatch(subject)
        return None if matched is None else matched.groupdict()


def lines_of(text: str, complaints: list[Complaint]) -> Iterator[tuple[int, str]]:
    """Return the lines that say something, with their numbers."""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if len(line) > LINE_CHARACTERS_MAX:
            why = f"the line is longer than {LINE_CHARACTERS_MAX} characters"
            complaints.append(Complaint(line=number, why=why))
            continue
        yield number, line


def read_target(text: str, *, is_relative: bool = False, keeps_query: bool = False) -> str:
    """Return a path or an `https://` URL in its normal form. Raises: Invalid.

    `is_relative`: paths only. `keeps_query`: with query and fragment (and ports), as a redirect's end.
    """
    absolute = _absolute(text)
    if absolute is None:
        if is_relative and not text.startswith("/"):
            text = f"/{text}"
        if not text.startswith("/"):
            raise Invalid('write a path ("/…") or a URL ("https://…")')
        return _normal(text, keeps_query=keeps_query)
    if is_relative:
        raise Invalid(f"only relative URLs are allowed here, not {text}")
    if not keeps_query and _has_port(absolute["host"]):
        raise Invalid(f"ports are not supported: {text}")
    return f"https://{absolute['host']}{_normal(absolute['path'], keeps_query=keeps_query)}"


def has_host(target: str) -> bool:
    """Return whether a target that was read is a URL."""
    return target.startswith("https://")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with its placeholders replaced."""
    for name, value in values.items():
        text = text.replace(f":{name}", value)
    return text


def place_of(url: str) -> tuple[str, str]:
    """Return what patterns look at: the host's name and the path."""
    split = urlsplit(url)
    return split.hostname or "", split.path or "/"


def _normal(path: str, *, keeps_query: bool) -> str:
    try:
        url = parse(f"http://rule{path if path.startswith('/') else f'/{path}'}")
    except JsTypeError as error:
        raise Invalid(f"{path} is no path of a URL") from error
    if not keeps_query:
        return url.path
    query = f"?{url.query}" if url.query else ""
    return f"{url.path}{query}" + (f"#{url.fragment}" if url.fragment else "")


def _expression(text: str) -> str:
    literal = "(?P<splat>.*)".join(_escaped.sub(r"\\\g<0>", part) for part in text.split("*"))
    # A host's placeholder ends at a dot, a path's at a slash.
    literal = _host_placeholder.sub(r"\1(?P<\2>[^/.]+)", literal)
    return _placeholder.sub(r"(?P<\1>[^/]+)", literal)
