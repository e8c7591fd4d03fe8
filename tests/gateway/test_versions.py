"""Versions: sources, conflicts, life-cycle headers."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import http_sf
import pytest

from dohost.gateway.config_tables import VersionConfig, VersionsConfig
from dohost.gateway.problems import Problem
from dohost.gateway.versions import (
    ResolvedVersion,
    Versions,
    check_versions,
    describe_versions,
    resolve_version,
    unix_seconds,
)

NOW = unix_seconds("2026-06-01") * 1_000_000_000
CONFIG = VersionsConfig(
    supported={
        "v1": VersionConfig(
            deprecated="2026-01-01",
            sunset="2026-07-01",
            successor="v2",
            link="https://docs.example/v1",
        ),
        "v2": VersionConfig(prefix="/api/v2"),
    },
    default="v2",
)


def resolve(
    path: str = "/x", query: dict[str, str] | None = None, now: int = NOW, **headers: str
) -> ResolvedVersion | Problem:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return resolve_version(CONFIG, path=path, headers=named, query=query or {}, now_ns=now)


@pytest.mark.parametrize(
    ("asked", "version", "source"),
    [
        ({"path": "/api/v2/users"}, "v2", "path"),
        ({"path": "/api/v1/users"}, "v1", "path"),
        ({"path": "/v1"}, "v1", "path"),
        ({"api_version": "1"}, "v1", "header"),
        ({"x_api_version": "v2"}, "v2", "header"),
        ({"accept_version": " v1 "}, "v1", "header"),
        ({"accept": "application/vnd.x.v1+json"}, "v1", "media-type"),
        ({"accept": 'application/json;version="2"'}, "v2", "media-type"),
        ({"query": {"api-version": "1"}}, "v1", "query"),
        ({}, "v2", "default"),
        ({"path": "/api/v1/users", "api_version": "1"}, "v1", "path"),
        ({"path": "/api/v20", "api_version": "1"}, None, None),
    ],
)
def test_sources_in_order(asked: dict[str, str], version: str | None, source: str | None) -> None:
    found = resolve(**asked)  # type: ignore[arg-type]  # the table mixes path, query and headers
    if version is None:
        assert isinstance(found, Problem)
    else:
        assert isinstance(found, ResolvedVersion)
        assert (found.version, found.source) == (version, source)
        assert ("API-Version", version) in found.headers


def test_two_sources_that_disagree_are_the_callers_mistake() -> None:
    found = resolve(path="/api/v1/x", api_version="2")
    assert isinstance(found, Problem)
    assert found.status == 400


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": "/api/v9/x"}, 404),
        ({"query": {"api-version": "9"}}, 404),
        ({"api_version": "9"}, 406),
        ({"accept": "application/vnd.x.v9+json"}, 406),
    ],
)
def test_an_unknown_version_lists_the_known_ones(asked: dict[str, str], status: int) -> None:
    found = resolve(**asked)  # type: ignore[arg-type]  # the table mixes path, query and headers
    assert isinstance(found, Problem)
    assert found.status == status
    assert found.members["supported"] == ["v1", "v2"]


def test_a_version_in_the_path_needs_no_vary_and_any_other_choice_does() -> None:
    by_path, by_default = resolve(path="/v1"), resolve()
    assert isinstance(by_path, ResolvedVersion)
    assert isinstance(by_default, ResolvedVersion)
    assert by_path.vary == ()
    assert by_default.vary == ("API-Version", "X-API-Version", "Accept-Version", "Accept")


def test_a_deprecated_version_says_since_when_until_when_and_what_next() -> None:
    found = resolve(path="/v1")
    assert isinstance(found, ResolvedVersion)
    headers = dict(found.headers)
    value, _ = http_sf.parse(headers["Deprecation"].encode(), tltype="item")
    assert value.timestamp() == unix_seconds("2026-01-01")
    assert parsedate_to_datetime(headers["Sunset"]).timestamp() == unix_seconds("2026-07-01")
    assert headers["Link"] == (
        '<https://docs.example/v1>; rel="deprecation", <https://docs.example/v1>; rel="sunset", '
        '</api/v2>; rel="successor-version"'
    )


def test_after_its_sunset_a_version_is_gone() -> None:
    sunset = unix_seconds("2026-07-01") * 1_000_000_000
    assert isinstance(resolve(path="/v1", now=sunset - 1), ResolvedVersion)
    gone = resolve(path="/v1", now=sunset)
    assert isinstance(gone, Problem)
    assert gone.status == 410
    assert gone.members["supported"] == ["v2"]
    described = describe_versions(CONFIG, sunset)
    assert [each["gone"] for each in described] == [True, False]


def test_without_versions_nothing_is_looked_at() -> None:
    found = resolve_version(VersionsConfig(), path="/v9", headers={}, query={}, now_ns=NOW)
    assert found == ResolvedVersion(version=None, source="none")


def test_what_decides_a_version_changes_at_a_sunset_and_with_its_fields() -> None:
    versions = Versions(CONFIG)
    before, after = (unix_seconds(at) * 1_000_000_000 for at in ("2026-06-30", "2026-07-02"))
    assert versions.deciding({}, before) != versions.deciding({}, after)
    assert versions.deciding({"api-version": "1"}, NOW) != versions.deciding({}, NOW)
    assert versions.deciding({"x-else": "1"}, NOW) == versions.deciding({}, NOW)


@pytest.mark.parametrize(
    ("name", "fields", "path"),
    [
        ("v1\n", {}, ""),
        ("é", {}, ""),
        ("v1", {"link": "https://docs.example/a>b"}, ".link"),
        ("v1", {"link": "https://docs.example/\r\nX: y"}, ".link"),
        ("v1", {"prefix": "api/v1"}, ".prefix"),
        ("v1", {"prefix": "/api/é"}, ".prefix"),
        ("v1", {"deprecated": "2026-13-01"}, ".deprecated"),
        ("v1", {"sunset": "9999-12-31T23:59:59-14:00"}, ".sunset"),
        ("v1", {"sunset": "0001-01-01T00:00:00+14:00"}, ".sunset"),
    ],
)
def test_what_no_header_can_say_is_a_problem(name: str, fields: dict[str, str], path: str) -> None:
    good = VersionConfig(deprecated="2026-01-01", link="https://docs.example/?v=1#top")
    assert check_versions(VersionsConfig(supported={"2026-01": good})) == ()
    found = check_versions(VersionsConfig(supported={name: VersionConfig(**fields)}))  # type: ignore[arg-type]  # a table's row
    assert [each.path for each in found] == [f'GATEWAY.versions.supported."{name}"{path}']
