"""API versions: which one a request means, and what a client of an old one is told.

Order: path, header, media type, query, default. Two sources that disagree are the caller's mistake
(400). Deprecated versions answer with Deprecation (RFC 9745), Sunset (RFC 8594) and links; after
sunset they are gone (410) if so configured. A version may be written with or without its "v". Where a
version has no `prefix`, the path names it as its first segment, or as its second after "api".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from msgspec import Struct

from dohost.gateway.accept import wanted
from dohost.gateway.config_tables import ConfigProblem, VersionConfig, VersionsConfig
from dohost.gateway.problems import Problem, problem

SECOND_NS = 1_000_000_000
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What may stand between "<" and ">" (RFC 8288): a URI reference.
LINK = re.compile(r"[!#-;=?-\[\]_a-z~]+")
VERSION_SEGMENT = re.compile(r"/(?:api/)?(v[0-9]+(?:\.[0-9]+)*)(?=/|$)")
MEDIA_VERSION = re.compile(r"\.(v[0-9]+(?:\.[0-9]+)*)(?:\+|;|$)|;\s*version=\"?([\w.-]+)\"?")


class ResolvedVersion(Struct, frozen=True, kw_only=True):
    """The version in force; `headers` belong on the answer, `vary` into its Vary field."""

    version: str | None
    source: str
    headers: tuple[tuple[str, str], ...] = ()
    vary: tuple[str, ...] = ()


NO_VERSIONS = ResolvedVersion(version=None, source="none")


def check_versions(config: VersionsConfig) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the table: bad dates, unknown default or successor."""
    problems: list[ConfigProblem] = []
    known = config.supported
    if config.default is not None and config.default not in known:
        text = f"no version {config.default!r}."
        problems.append(ConfigProblem(path="GATEWAY.versions.default", message=text))
    for name, version in known.items():
        path = f'GATEWAY.versions.supported."{name}"'
        problems.extend(check_names(name, version, path=path))
        dates: dict[str, int] = {}
        for field, date in (("deprecated", version.deprecated), ("sunset", version.sunset)):
            if date is not None:
                try:
                    dates[field] = unix_seconds(date)
                except ValueError:
                    message = f"{date!r} is not an ISO 8601 date."
                    problems.append(ConfigProblem(path=f"{path}.{field}", message=message))
        if len(dates) == 2 and dates["sunset"] < dates["deprecated"]:
            message = "is earlier than deprecated."
            problems.append(ConfigProblem(path=f"{path}.sunset", message=message))
        if version.successor is not None and version.successor not in known:
            message = f"no version {version.successor!r}."
            problems.append(ConfigProblem(path=f"{path}.successor", message=message))
    return tuple(problems)


def check_names(name: str, version: VersionConfig, *, path: str) -> Iterator[ConfigProblem]:
    """Yield what can't stand in the fields API-Version and Link, or in a path."""
    if not NAME.fullmatch(name):
        message = "a version's name is letters, digits, dots, hyphens and _ (at most 64)."
        yield ConfigProblem(path=path, message=message)
    if version.link is not None and not LINK.fullmatch(version.link):
        message = "must be a URL, with everything unsafe percent-encoded."
        yield ConfigProblem(path=f"{path}.link", message=message)
    if version.prefix is not None and not (
        version.prefix.startswith("/") and LINK.fullmatch(version.prefix)
    ):
        yield ConfigProblem(path=f"{path}.prefix", message='must look like "/api/v1".')


class Versions:
    """Resolves versions of one configuration."""

    def __init__(self, config: VersionsConfig) -> None:
        self._config = config
        fields = (*config.headers, *(("accept",) if config.media_type else ()))
        self._fields = tuple(name.lower() for name in fields) if config.supported else ()
        self._sunsets = sorted(
            unix_seconds(each.sunset) * SECOND_NS
            for each in config.supported.values()
            if each.sunset
        )

    def deciding(self, headers: Mapping[str, str], now_ns: int) -> tuple[object, ...]:
        """Return all but the URL that a resolution depends on: the fields, and how many sunsets are
        past, which is the only thing that time changes."""
        passed = bisect_right(self._sunsets, now_ns) if self._sunsets else 0
        return (passed, *map(headers.get, self._fields))

    def resolve(
        self, path: str, *, headers: Mapping[str, str], query: Mapping[str, str], now_ns: int
    ) -> ResolvedVersion | Problem:
        """Return what `resolve_version` does."""
        return resolve_version(self._config, path=path, headers=headers, query=query, now_ns=now_ns)


def resolve_version(
    config: VersionsConfig,
    *,
    path: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    now_ns: int,
) -> ResolvedVersion | Problem:
    """Return the version a request means; header names are in lower case."""
    if not config.supported:
        return NO_VERSIONS
    named: list[tuple[str, str]] = []
    for source, text in requested(config, path, headers=headers, query=query):
        name = known_name(config, text)
        if name is None:
            return unknown_version(config, source, text=text)
        named.append((source, name))
    if len({name for _, name in named}) > 1:
        sources = dict(named)
        return problem("version-conflict", requested=sources, supported=list(config.supported))
    # A version in the path is part of the URL; any other choice depends on these fields.
    vary = (*config.headers, *(("Accept",) if config.media_type else ()))
    if named:
        source, name = named[0]
        return in_force(
            config, name, source=source, vary=() if source == "path" else vary, now_ns=now_ns
        )
    if config.default is None:
        return ResolvedVersion(version=None, source="none", vary=vary)
    return in_force(config, config.default, source="default", vary=vary, now_ns=now_ns)


def requested(
    config: VersionsConfig, path: str, *, headers: Mapping[str, str], query: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield each version that the request names, with where it does, strongest first."""
    in_path = path_version(config, path)
    if in_path is not None:
        yield "path", in_path
    for name in config.headers:
        if name.lower() in headers:
            yield "header", headers[name.lower()].strip()
    if config.media_type:
        for text in wanted(headers.get("accept", "")):
            for found in MEDIA_VERSION.finditer(text):
                yield "media-type", found.group(1) or found.group(2)
    if config.query is not None and config.query in query:
        yield "query", query[config.query]


def path_version(config: VersionsConfig, path: str) -> str | None:
    """Return the version named by the path: the longest configured prefix, or the usual place."""
    prefixed = [
        (version.prefix, name)
        for name, version in config.supported.items()
        if version.prefix is not None
        and (path == version.prefix or path.startswith(version.prefix.rstrip("/") + "/"))
    ]
    if prefixed:
        return max(prefixed, key=lambda pair: len(pair[0]))[1]
    usual = VERSION_SEGMENT.match(path)
    return None if usual is None else usual.group(1)


def known_name(config: VersionsConfig, text: str) -> str | None:
    """Return the configured name of a version written with or without its "v"."""
    forms = (text, f"v{text}", text.removeprefix("v"))
    return next((form for form in forms if form in config.supported), None)


def unknown_version(config: VersionsConfig, source: str, *, text: str) -> Problem:
    """Return 404 for a version in the URL and 406 for one in a header."""
    slug = "unknown-version" if source in ("path", "query") else "unsupported-version"
    detail = f"There is no API version {text[:64]!r}."
    return problem(slug, detail, supported=list(config.supported), source=source)


def in_force(
    config: VersionsConfig, name: str, *, source: str, vary: tuple[str, ...], now_ns: int
) -> ResolvedVersion | Problem:
    """Return the version with its headers, or 410 after its sunset."""
    version = config.supported[name]
    headers = (("API-Version", name), *lifecycle_headers(config, version))
    if config.gone_after_sunset and is_gone(version, now_ns):
        detail = f"API version {name} was switched off on {version.sunset}."
        return problem("version-gone", detail, headers=headers, supported=living(config, now_ns))
    return ResolvedVersion(version=name, source=source, headers=headers, vary=vary)


def lifecycle_headers(
    config: VersionsConfig, version: VersionConfig
) -> tuple[tuple[str, str], ...]:
    """Return Deprecation, Sunset and Link for a version that has such dates."""
    headers: list[tuple[str, str]] = []
    links: list[str] = []
    if version.deprecated is not None:
        headers.append(("Deprecation", f"@{unix_seconds(version.deprecated)}"))
        if version.link is not None:
            links.append(f'<{version.link}>; rel="deprecation"')
    if version.sunset is not None:
        when = datetime.fromtimestamp(unix_seconds(version.sunset), UTC)
        headers.append(("Sunset", format_datetime(when, usegmt=True)))
        if version.link is not None:
            links.append(f'<{version.link}>; rel="sunset"')
    if version.successor is not None:
        successor = config.supported[version.successor]
        target = successor.prefix or successor.link
        if target is not None:
            links.append(f'<{target}>; rel="successor-version"')
    return (*headers, ("Link", ", ".join(links))) if links else tuple(headers)


def is_gone(version: VersionConfig, now_ns: int) -> bool:
    """True from the sunset on."""
    return version.sunset is not None and now_ns >= unix_seconds(version.sunset) * SECOND_NS


def living(config: VersionsConfig, now_ns: int) -> list[str]:
    """Return the versions before their sunset."""
    return [name for name, version in config.supported.items() if not is_gone(version, now_ns)]


def unix_seconds(text: str) -> int:
    """Return the instant of an ISO 8601 date; without a zone it is UTC.

    Raises: ValueError for another form.
    """
    instant = datetime.fromisoformat(text)
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    try:
        return int(aware.astimezone(UTC).timestamp())
    except OverflowError:
        raise ValueError("a year that UTC does not have") from None


def describe_versions(config: VersionsConfig, now_ns: int) -> list[dict[str, object]]:
    """Return `/api/versions`: each version with its dates and whether it still answers."""
    return [
        {
            "version": name,
            "default": name == config.default,
            "deprecated": version.deprecated,
            "sunset": version.sunset,
            "successor": version.successor,
            "gone": config.gone_after_sunset and is_gone(version, now_ns),
        }
        for name, version in config.supported.items()
    ]
