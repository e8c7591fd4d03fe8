"""URLs as the WHATWG standard reads and writes them.

`normalize` gives the text that `request.url` shows: scheme and host in lower case, no default port, no dot
segments, a path of at least "/", everything unsafe percent-encoded. URLs that are in that form already
are recognised by one regular expression, because each stub call and each request passes here.

A reference is read against its base as browsers read it, backslashes and surplus slashes included, so that
a program which asks whether a link leaves its host gets the browser's answer. Left out: the drive letters
of file URLs.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from dohost.errors import JsTypeError
from workers.url_host import parse_host, parse_opaque_host
from workers.usv_text import whole_text

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
SPECIAL = frozenset({*DEFAULT_PORTS, "file"})
# Sets of the standard; "%" stays as it is, escaped or not.
_PATH_SAFE = "%/:@!$&'()*+,;=-._~[]|\\"
_QUERY_SAFE = "%/:@!$&()*+,;=-._~[]|^?`{}\\"
FRAGMENT_SAFE = "%/:@!$&'()*+,;=-._~[]|^?{}\\#"
USERINFO_SAFE = "%!$&'()*+,-._~"
_OPAQUE_SAFE = "".join(map(chr, range(0x20, 0x7F)))
_PLAIN = r"A-Za-z0-9_~:@!$&()*+,;=%.-"
_is_normal = re.compile(
    r"https?://(?!(?:0x[0-9a-f]*|[0-9]+)[:/])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z](?:[a-z0-9-]*[a-z0-9])?)*"
    r"(?::(?!(?:80|443)/)[1-9][0-9]{0,3})?"
    rf"(?:/(?!\.|%2[eE])[{_PLAIN}]*)+(?:\?[{_PLAIN}/?]*)?"
).fullmatch
_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):").match
_line_ends = re.compile(r"[\t\r\n]")
_BLANK = "".join(map(chr, range(0x21)))


class Url(Struct, frozen=True, kw_only=True):
    """The parts of a normalized URL; `port` is empty for the scheme's default.

    Without a host (`None`; an empty one is another thing) a path that does not begin with a slash is
    opaque: no segments, only text.
    """

    scheme: str
    username: str = ""
    password: str = ""
    host: str | None = None
    port: str = ""
    path: str = ""
    query: str | None = None
    fragment: str | None = None

    @property
    def authority(self) -> str:
        """Host and port, without user information."""
        return f"{self.host}:{self.port}" if self.port else self.host or ""

    @property
    def is_opaque(self) -> bool:
        """Whether the path is no list of segments, as in `mailto:a@b`."""
        return self.host is None and not self.path.startswith("/")

    @property
    def href(self) -> str:
        """The whole URL as text."""
        user = self.username + (f":{self.password}" if self.password else "")
        if self.host is not None:
            slashes = f"//{user}{'@' if user else ''}{self.authority}"
        else:
            # Two slashes would begin a host.
            slashes = "/." if self.path.startswith("//") else ""
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.scheme}:{slashes}{self.path}{query}{fragment}"


def normalize(url: str) -> str:
    """Return an absolute URL in its normal form. Raises: JsTypeError for one without a host."""
    if _is_normal(url):
        return url
    parts = parse(url)
    if not parts.host:
        raise JsTypeError(f"Invalid URL: {url}")
    return parts.href


def parse(url: str, base: str | None = None) -> Url:
    """Parse a URL, against `base` if given. Raises: JsTypeError `Invalid URL: …`."""
    text = plain_text(url.strip(_BLANK))
    against = None if base is None else parse(base)
    try:
        return _parse(text, against)
    except ValueError:
        raise JsTypeError(f"Invalid URL: {url}") from None


def plain_text(text: str) -> str:
    """Return what a URL's parser looks at: no tabs and line ends, and no halves of characters."""
    return whole_text(_line_ends.sub("", text))


def _parse(text: str, base: Url | None) -> Url:
    before, has_fragment, fragment = text.partition("#")
    matched = _scheme(before)
    scheme = None if matched is None else matched[1].lower()
    rest = before if matched is None else before[matched.end() :]
    if scheme is None:
        if base is None or (base.is_opaque and (before or not has_fragment)):
            raise ValueError("relative")
        found = _relative(rest, base)
    elif base is not None and scheme == base.scheme and scheme in SPECIAL:
        # An old way to write a reference: `http:x`.
        found = _relative(rest, base)
    else:
        found = _absolute(scheme, rest)
    return replace(found, fragment=quote(fragment, safe=FRAGMENT_SAFE) if has_fragment else None)


def _absolute(scheme: str, rest: str) -> Url:
    """Read what follows the scheme of a URL that owes its base nothing."""
    place, query = _split_query(rest, scheme)
    if scheme == "file":
        return _relative(rest, Url(scheme=scheme, host="", path="/"))
    if scheme in SPECIAL:
        return _with_authority(scheme, place.replace("\\", "/").lstrip("/"), query)
    if place.startswith("//"):
        return _with_authority(scheme, place[2:], query)
    if place.startswith("/"):
        return Url(scheme=scheme, path=encode_path(place), query=query)
    # A blank before a query or fragment that is taken off later must not end the URL.
    path = quote(place, safe=_OPAQUE_SAFE)
    if path.endswith(" "):
        path = f"{path[:-1]}%20"
    return Url(scheme=scheme, path=path, query=query)


def _relative(rest: str, base: Url) -> Url:
    """Read a reference without a scheme, or with that of its base."""
    place, query = _split_query(rest, base.scheme)
    if base.scheme in SPECIAL:
        place = place.replace("\\", "/")
    if place.startswith("//"):
        if base.scheme == "file":
            return _file_with_host(place[2:], query)
        surplus = "/" if base.scheme in SPECIAL else ""
        return _with_authority(base.scheme, place[2:].lstrip(surplus), query)
    if not place:
        return base if query is None else replace(base, query=query)
    if not place.startswith("/"):
        place = f"{base.path.rpartition('/')[0]}/{place}"
    return replace(base, path=encode_path(place), query=query)


def _with_authority(scheme: str, place: str, query: str | None) -> Url:
    authority, slash, path = place.partition("/")
    is_special = scheme in SPECIAL
    user, has_user, host_port = authority.rpartition("@")
    username, _, password = user.partition(":")
    host, port = _split_port(host_port)
    if not host and (is_special or has_user or host_port):
        raise ValueError("no host")
    if port == DEFAULT_PORTS.get(scheme):
        port = None
    return Url(
        scheme=scheme,
        username=quote(username, safe=USERINFO_SAFE),
        password=quote(password, safe=USERINFO_SAFE),
        host=parse_host(host) if is_special else parse_opaque_host(host),
        port="" if port is None else str(port),
        path=encode_path(f"/{path}") if slash or is_special else "",
        query=query,
    )


def _file_with_host(place: str, query: str | None) -> Url:
    host, _, path = place.partition("/")
    host = parse_host(host) if host else ""
    return Url(
        scheme="file",
        host="" if host == "localhost" else host,
        path=encode_path(f"/{path}"),
        query=query,
    )


def _split_query(rest: str, scheme: str) -> tuple[str, str | None]:
    place, has_query, query = rest.partition("?")
    return place, encode_query(query, scheme) if has_query else None


def encode_query(query: str, scheme: str) -> str:
    """Escape a query; URLs of the schemes that browsers know escape apostrophes as well."""
    return quote(query, safe=_QUERY_SAFE if scheme in SPECIAL else f"{_QUERY_SAFE}'")


def _split_port(host_port: str) -> tuple[str, int | None]:
    host, colon, port = host_port.rpartition(":")
    if not colon or port.endswith("]"):
        return host_port, None
    if port == "":
        return host, None
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("port")
    return host, int(port)


def encode_path(path: str) -> str:
    """Escape a path, and resolve `.` and `..` segments, also where their dots are percent-encoded."""
    kept: list[str] = []
    segments = quote(path[1:], safe=_PATH_SAFE).split("/")
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
