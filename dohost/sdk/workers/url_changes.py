"""What assigning to a part of a URL makes of it: the setters of the WHATWG standard, as pure functions.

A value can only ever change its own part. One that would reach into another (a host with a path, a port
with an "@") is cut off there or has no effect at all, as in browsers, and nothing is raised.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from msgspec.structs import replace

from workers.url import (
    DEFAULT_PORTS,
    FRAGMENT_SAFE,
    SPECIAL,
    USERINFO_SAFE,
    Url,
    encode_path,
    encode_query,
    plain_text,
)
from workers.url_host import parse_host, parse_opaque_host

_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?::|$)").match
_host_and_port = re.compile(r"((?:\[[^\]]*\]|[^:\[])*)(?::([0-9]*))?").match
_digits = re.compile(r"[0-9]+").match
_PORT_MAX = 65_535


def with_protocol(url: Url, value: str) -> Url:
    """Change the scheme, but not between those that browsers know and others."""
    found = _scheme(plain_text(value))
    scheme = "" if found is None else found[1].lower()
    if not scheme or (scheme in SPECIAL) != (url.scheme in SPECIAL):
        return url
    if scheme == "file" and (url.username or url.password or url.port):
        return url
    if url.scheme == "file" and not url.host:
        return url
    is_default = url.port == str(DEFAULT_PORTS.get(scheme))
    return replace(url, scheme=scheme, port="" if is_default else url.port)


def with_user(url: Url, *, username: str | None = None, password: str | None = None) -> Url:
    """Change the user's name or password; a URL without a host has neither."""
    if not url.host or url.scheme == "file":
        return url
    name = url.username if username is None else quote(username, safe=USERINFO_SAFE)
    word = url.password if password is None else quote(password, safe=USERINFO_SAFE)
    return replace(url, username=name, password=word)


def with_host(url: Url, value: str) -> Url:
    """Change the host, and the port if `value` names one."""
    host, port = _split_host(url, value)
    if url.scheme == "file" and port is not None:
        return url
    changed = _with_hostname(url, host)
    return changed if changed is url or not port else with_port(changed, port)


def with_hostname(url: Url, value: str) -> Url:
    """Change the host alone; a value with a port is none."""
    host, port = _split_host(url, value)
    return url if port is not None else _with_hostname(url, host)


def _split_host(url: Url, value: str) -> tuple[str, str | None]:
    """Return the host in a value, and the digits of its port; no colon, no port."""
    ends = r"[/?#\\]" if url.scheme in SPECIAL else r"[/?#]"
    found = _host_and_port(re.split(ends, plain_text(value), maxsplit=1)[0])
    assert found is not None, "every part of the expression is optional"
    return found[1], found[2]


def _with_hostname(url: Url, host: str) -> Url:
    is_special = url.scheme in SPECIAL
    has_more = bool(url.username or url.password or url.port)
    if url.is_opaque or (not host and url.scheme != "file" and (is_special or has_more)):
        return url
    try:
        parsed = parse_host(host) if is_special and host else parse_opaque_host(host)
    except ValueError:
        return url
    return replace(url, host="" if (url.scheme, parsed) == ("file", "localhost") else parsed)


def with_port(url: Url, value: str) -> Url:
    """Change the port to the digits that `value` begins with; an empty one removes it."""
    if not url.host or url.scheme == "file":
        return url
    text = plain_text(value)
    digits = _digits(text)
    if digits is None:
        return url if text else replace(url, port="")
    port = int(digits[0])
    if port > _PORT_MAX:
        return url
    return replace(url, port="" if port == DEFAULT_PORTS.get(url.scheme) else str(port))


def with_pathname(url: Url, value: str) -> Url:
    """Change the path; an opaque one stays."""
    if url.is_opaque:
        return url
    is_special = url.scheme in SPECIAL
    path = plain_text(value)
    if is_special:
        path = path.replace("\\", "/")
    if not path and not is_special and url.host is not None:
        return replace(url, path="")
    return replace(url, path=encode_path(path if path.startswith("/") else f"/{path}"))


def with_search(url: Url, value: str) -> Url:
    """Change the query; its "?" may be left out."""
    query = plain_text(value).removeprefix("?")
    return replace(url, query=encode_query(query, url.scheme) if value else None)


def with_hash(url: Url, value: str) -> Url:
    """Change the fragment; its "#" may be left out."""
    fragment = plain_text(value).removeprefix("#")
    return replace(url, fragment=quote(fragment, safe=FRAGMENT_SAFE) if value else None)
