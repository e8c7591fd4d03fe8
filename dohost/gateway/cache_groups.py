"""What an answer names to be purged: groups of cached answers (RFC 9875, and the tags of older caches), and
paths (RFC 9111 §4.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import quote, urljoin, urlsplit

Header = tuple[str, str]
# A structured-field String; parameters after it are allowed and ignored. No part gives back what it took.
ITEM = re.compile(
    r'\s*+"((?:[ !#-\[\]-~]|\\["\\])*+)"(?:;[^,"]*+(?:"(?:[^"\\]|\\.)*+"[^,"]*+)*+)?+\s*+(,|$)'
)
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
GROUPS_MAX = 128
GROUP_BYTES_MAX = 256


def plain_tag(tag: str) -> str:
    """Return a tag as a structured String that is not oversized, so that no tag gets lost on its way.

    Where two tags become one, an answer is dropped too early and never too late.
    """
    if len(tag) <= GROUP_BYTES_MAX and tag.isascii() and tag.isprintable():
        return tag
    escaped = quote(tag, safe=PRINTABLE, errors="replace")
    if len(escaped) <= GROUP_BYTES_MAX:
        return escaped
    return f"sha256:{hashlib.sha256(escaped.encode()).hexdigest()}"


def group_tags(headers: Sequence[Header]) -> frozenset[str]:
    """Return the tags an answer asks to be stored under."""
    tags: set[str] = set()
    for name, value in headers:
        match name.lower():
            case "cache-groups":
                tags.update(string_list(value))
            case "cache-tag":
                tags.update(tag.strip() for tag in value.split(","))
            case "surrogate-key":
                tags.update(value.split())
    tags.discard("")
    return bounded(tags)


def invalidation_tags(headers: Sequence[Header]) -> frozenset[str]:
    """Return the groups that an answer to an unsafe method purges (RFC 9875 §3)."""
    tags: set[str] = set()
    for name, value in headers:
        if name.lower() == "cache-group-invalidation":
            tags.update(string_list(value))
    return bounded(tags)


def named_paths(headers: Sequence[Header], url: str) -> set[str]:
    """Return the paths of the request's own origin that its answer names (RFC 9111 §4.4)."""
    base = urlsplit(url)
    paths = set()
    for name, value in headers:
        if name.lower() in ("location", "content-location"):
            try:
                named = urlsplit(urljoin(url, value.strip()))
            except ValueError:
                continue
            if (named.scheme, named.netloc) == (base.scheme, base.netloc):
                paths.add(named.path)
    return paths


def string_list(text: str) -> list[str]:
    """Return a structured-field List of Strings; a field that doesn't parse has none."""
    strings: list[str] = []
    position = 0
    while position < len(text):
        found = ITEM.match(text, position)
        if found is None:
            return []
        strings.append(re.sub(r"\\(.)", r"\1", found.group(1)))
        position = found.end()
        if found.group(2) and position == len(text):
            return []
    return strings


def bounded(tags: set[str]) -> frozenset[str]:
    """Return the tags, without oversized ones and not more than are kept for one answer."""
    fit = sorted(tag for tag in tags if len(tag) <= GROUP_BYTES_MAX)
    return frozenset(fit[:GROUPS_MAX])
