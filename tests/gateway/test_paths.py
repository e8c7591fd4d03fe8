"""Canonical paths: what passes, in which form, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway.paths import BadPath, CanonicalPath, canonical_path


@pytest.mark.parametrize(
    ("raw", "form", "segments"),
    [
        ("/", "/", ("",)),
        ("/api/v1/users", "/api/v1/users", ("api", "v1", "users")),
        ("/a/", "/a/", ("a", "")),
        ("/a//b", "/a//b", ("a", "", "b")),
        ("/.well-known/x", "/.well-known/x", (".well-known", "x")),
        ("/a...b/...", "/a...b/...", ("a...b", "...")),
        ("/%c3%a9", "/%C3%A9", ("é",)),
        ("/é", "/%C3%A9", ("é",)),
        ("/a%20b", "/a%20b", ("a b",)),
        ("/100%25", "/100%25", ("100%",)),
    ],
)
def test_paths_have_one_form(raw: str, form: str, segments: tuple[str, ...]) -> None:
    assert canonical_path(raw) == CanonicalPath(form, segments)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a",
        "//evil.example/x",
        "/a/../b",
        "/a/..",
        "/.",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "/..;/admin",
        "/a/.;x=1/b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%00b",
        "/a\x00b",
        "/a%0d%0ab",
        "/a\x7fb",
        "/a%7f",
        "/a%c2%80",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%ff",
        "/a%c0%ae",
        "/a%ed%a0%80",
        "/a?b",
        "/a#b",
    ],
)
def test_what_two_parsers_read_differently_is_refused(raw: str) -> None:
    assert isinstance(canonical_path(raw), BadPath)


@given(st.text(alphabet="/.%aA2eEfF;5cC~é\\ ", max_size=20).map("/".__add__))
def test_canonical_is_a_fixed_point_and_never_has_a_dot_segment(raw: str) -> None:
    path = canonical_path(raw)
    if isinstance(path, CanonicalPath):
        assert canonical_path(path.raw) == path
        assert not {".", ".."} & set(path.segments)
        assert path.raw.count("/") == len(path.segments)
