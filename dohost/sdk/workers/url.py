"""URLs as the WHATWG standard reads and writes them, for the schemes that Workers use.

`normalize` gives the text that `request.url` shows: scheme and host in lower case, no default port, no dot
segments, a path of at least "/", everything unsafe percent-encoded. URLs that are in that form already
are recognised by one regular expression, because each stub call and each request passes here.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from dohost.errors import JsTypeError
from workers.url_host import parse_host

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_SPECIAL = frozenset(DEFAULT_PORTS)
# Sets of the standard; "%" stays as it is, escaped or not.
_PATH_SAFE = "%/:@!$&'()*+,;=-._~[]|^"
_QUERY_SAFE = "%/:@!$&()*+,;=-._~[]|^?`{}\\"
_FRAGMENT_SAFE = "%/:@!$&'()*+,;=-._~[]|^?{}\\#"
_USERINFO_SAFE = "%!$&'()*+,-._~"
_PLAIN = r"A-Za-z0-9_~:@!$&()*+,;=%.-"
_is_normal = re.compile(
    r"https?://(?!(?:0x[0-9a-f]*|[0-9]+)[:/])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z](?:[a-z0-9-]*[a-z0-9])?)*"
    r"(?::(?!(?:80|443)/)[1-9][0-9]{0,3})?"
    rf"(?:/(?!\.|%2[eE])[{_PLAIN}]*)+(?:\?[{_PLAIN}/?]*)?"
).fullmatch
_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):").match


class Url(Struct, frozen=True, kw_only=True):
    """The parts of a normalized URL; `port` is empty for the scheme's default."""

    scheme: str
    username: str
    password: str
    host: str
    port: str
    path: str
    query: str | None
    fragment: str | None

    @property
    def authority(self) -> str:
        """Host and port, without user information."""
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def href(self) -> str:
        """The whole URL as text."""
        user = self.username + (f":{self.password}" if self.password else "")
        slashes = f"//{user}{'@' if user else ''}{self.authority}" if self.host else ""
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.scheme}:{slashes}{self.path}{query}{fragment}"


def normalize(url: str) -> str:
    """Return an absolute http(s) URL in its normal form. Raises: JsTypeError for anything else."""
    if _is_normal(url):
        return url
    parts = parse(url)
    if not parts.host:
        raise JsTypeError(f"Invalid URL: {url}")
    return parts.href


def parse(url: str, base: str | None = None) -> Url:
    """Parse a URL, against `base` if given. Raises: JsTypeError `Invalid URL: …`."""
    text = re.sub(r"[\t\r\n]", "", url.strip("".join(map(chr, range(0x21)))))
    if base is not None and _scheme(text) is None:
        text = urljoin(parse(base).href, text)
    matched = _scheme(text)
    if matched is None:
        raise JsTypeError(f"Invalid URL: {url}")
    scheme = matched[1].lower()
    rest = text[matched.end() :]
    try:
        if scheme in _SPECIAL:
            return _parse_special(scheme, rest)
        split = urlsplit(f"{scheme}:{rest}")
    except ValueError:
        raise JsTypeError(f"Invalid URL: {url}") from None
    return Url(
        scheme=scheme,
        username="",
        password="",
        host=split.netloc,
        port="",
        path=quote(split.path, safe=_PATH_SAFE),
        query=quote(split.query, safe=_QUERY_SAFE) if "?" in rest else None,
        fragment=quote(split.fragment, safe=_FRAGMENT_SAFE) if "#" in rest else None,
    )


def _parse_special(scheme: str, rest: str) -> Url:
    before, has_fragment, fragment = rest.partition("#")
    before, has_query, query = before.partition("?")
    authority, _, path = before.replace("\\", "/").lstrip("/").partition("/")
    user, _, host_port = authority.rpartition("@")
    username, _, password = user.partition(":")
    host, port = _split_port(host_port)
    if port == DEFAULT_PORTS[scheme]:
        port = None
    return Url(
        scheme=scheme,
        username=quote(username, safe=_USERINFO_SAFE),
        password=quote(password, safe=_USERINFO_SAFE),
        host=parse_host(host),
        port="" if port is None else str(port),
        path=_remove_dots(quote(path, safe=_PATH_SAFE)),
        query=quote(query, safe=_QUERY_SAFE) if has_query else None,
        fragment=quote(fragment, safe=_FRAGMENT_SAFE) if has_fragment else None,
    )


def _split_port(host_port: str) -> tuple[str, int | None]:
    host, colon, port = host_port.rpartition(":")
    if not colon or port.endswith("]"):
        return host_port, None
    if port == "":
        return host, None
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("port")
    return host, int(port)


def _remove_dots(path: str) -> str:
    """Resolve `.` and `..` segments, also where their dots are percent-encoded."""
    kept: list[str] = []
    segments = path.split("/")
    for index, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain not in (".", ".."):
            kept.append(segment)
            continue
        if plain == ".." and kept:
            kept.pop()
        if index == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)
