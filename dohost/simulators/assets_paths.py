"""Which file a path of a URL means: Cloudflare's rules for pages and trailing slashes. Pure.

Each way of handling HTML is a list of attempts, and the first that holds wins: to serve a file, or to
redirect to the one path under which a file is served. A redirect is only given where that path leads to
the very file, so that no rule sends a browser in circles. Paths here are decoded; `files` are the only
ones that are ever served, so no path can lead out of the directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgspec

from dohost.config import HtmlHandling, NotFoundHandling
from dohost.simulators.assets_files import Asset

_is_malformed = re.compile(r"%(?![0-9A-Fa-f]{2})").search
# What JavaScript's encodeURIComponent leaves as it is.
_COMPONENT_SAFE = "-_.!~*'()"


class Found(msgspec.Struct, frozen=True):
    """A file to serve; `status` is 404 for a page that stands for what is missing."""

    asset: Asset
    status: int = 200


class Moved(msgspec.Struct, frozen=True):
    """The decoded path under which the file is served."""

    path: str


class Attempt(NamedTuple):
    """Serve `file`, or redirect to `path` if that serves `file`."""

    file: str
    path: str | None = None


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a site and how its paths lead to them."""

    files: Mapping[str, Asset]
    html_handling: HtmlHandling
    not_found_handling: NotFoundHandling

    def resolve(self, path: str, *, falls_back: bool) -> Found | Moved | None:
        """Return what a decoded path leads to; `falls_back`: to what stands for missing files."""
        for attempt in _ATTEMPTS[self.html_handling](path):
            if attempt.path is None:
                asset = self.files.get(attempt.file)
                if asset is not None:
                    return Found(asset)
            elif self._is_served_at(attempt.path, attempt.file, falls_back=falls_back):
                return Moved(attempt.path)
        return self._missing(path) if falls_back else None

    def _is_served_at(self, path: str, file: str, *, falls_back: bool) -> bool:
        wanted = self.files.get(file)
        if wanted is None or path in self.files:
            return False
        for attempt in _ATTEMPTS[self.html_handling](path):
            if attempt.path is None and attempt.file in self.files:
                return self.files[attempt.file] is wanted
        missing = self._missing(path) if falls_back else None
        return missing is not None and missing.asset is wanted

    def _missing(self, path: str) -> Found | None:
        if self.not_found_handling == "single-page-application":
            index = self.files.get("/index.html")
            return None if index is None else Found(index)
        if self.not_found_handling == "404-page":
            while path:
                path = path.rpartition("/")[0]
                page = self.files.get(f"{path}/404.html")
                if page is not None:
                    return Found(page, 404)
        return None


def decode_path(path: str) -> str:
    """Return a path of a URL decoded once, segment by segment, with repeated slashes joined."""
    if "%" in path:
        path = "/".join(map(_decode_segment, path.split("/")))
    return re.sub("/+", "/", path) if "//" in path else path


def encode_path(path: str) -> str:
    """Return a decoded path as it stands in a URL."""
    return "/".join(quote(segment, safe=_COMPONENT_SAFE) for segment in path.split("/"))


def _decode_segment(segment: str) -> str:
    if _is_malformed(segment):
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return segment


def _auto(path: str) -> Iterator[Attempt]:
    if path.endswith("/index"):
        yield Attempt(path)
        yield Attempt(f"{path}.html", path[:-5])
        yield Attempt(f"{path[:-6]}.html", path[:-6])
    elif path.endswith("/index.html"):
        yield Attempt(path, path[:-10])
        yield Attempt(f"{path[:-11]}.html", path[:-11])
    elif path.endswith("/"):
        yield Attempt(f"{path}index.html")
        yield Attempt(f"{path[:-1]}.html", path[:-1])
    elif path.endswith(".html"):
        yield Attempt(path, path[:-5])
        yield Attempt(f"{path[:-5]}/index.html", f"{path[:-5]}/")
    yield Attempt(path)
    yield Attempt(f"{path}.html")
    yield Attempt(f"{path}/index.html", f"{path}/")


def _force(path: str) -> Iterator[Attempt]:
    if path.endswith("/index"):
        yield Attempt(path)
        yield Attempt(f"{path}.html", path[:-5])
        yield Attempt(f"{path[:-6]}.html", path[:-5])
    elif path.endswith("/index.html"):
        yield Attempt(path, path[:-10])
        yield Attempt(f"{path[:-11]}.html", path[:-10])
    elif path.endswith("/"):
        yield Attempt(f"{path}index.html")
        yield Attempt(f"{path[:-1]}.html")
    elif path.endswith(".html"):
        yield Attempt(path, f"{path[:-5]}/")
        yield Attempt(path)
        yield Attempt(f"{path[:-5]}/index.html", f"{path[:-5]}/")
    yield Attempt(path)
    yield Attempt(f"{path}.html", f"{path}/")
    yield Attempt(f"{path}/index.html", f"{path}/")


def _drop(path: str) -> Iterator[Attempt]:
    if path in ("/index", "/index.html"):
        yield from (Attempt(path),) if path == "/index" else ()
        yield Attempt("/index.html", "/")
    elif path.endswith("/index"):
        yield Attempt(path)
        yield Attempt(f"{path[:-6]}.html", path[:-6])
        yield Attempt(f"{path}.html", path[:-6])
    elif path.endswith("/index.html"):
        yield Attempt(path, path[:-11])
        yield Attempt(path)
        yield Attempt(f"{path[:-11]}.html", path[:-11])
    elif path == "/":
        yield Attempt("/index.html")
    elif path.endswith("/"):
        yield Attempt(f"{path[:-1]}.html", path[:-1])
        yield Attempt(f"{path[:-1]}/index.html", path[:-1])
    elif path.endswith(".html"):
        yield Attempt(path, path[:-5])
        yield Attempt(f"{path[:-5]}/index.html", path[:-5])
    yield Attempt(path)
    yield Attempt(f"{path}.html")
    yield Attempt(f"{path}/index.html")


def _none(path: str) -> Iterator[Attempt]:
    yield Attempt(path)


_ATTEMPTS: dict[HtmlHandling, Callable[[str], Iterator[Attempt]]] = {
    "auto-trailing-slash": _auto,
    "force-trailing-slash": _force,
    "drop-trailing-slash": _drop,
    "none": _none,
}
