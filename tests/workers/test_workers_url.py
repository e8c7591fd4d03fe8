"""URLs, references and setters as browsers read them. Expected values are those of workerd."""

from __future__ import annotations

import pytest
from workers.url import normalize, parse
from workers.url_object import URL, URLSearchParams

from dohost.errors import JsTypeError

BASE = "https://u:p@b.com:8080/p/q/r?x#y"
OF_BASE = "https://u:p@b.com:8080"

REFERENCES = [
    ("\\\\evil.com\\x", "https://evil.com/x"),
    ("/\\evil.com/x", "https://evil.com/x"),
    ("///evil.com/x", "https://evil.com/x"),
    ("\t//evil.com", "https://evil.com/"),
    ("https:\\\\evil.com", "https://evil.com/"),
    ("//u@h:443/", "https://u@h/"),
    ("\\x", f"{OF_BASE}/x"),
    ("https:x", f"{OF_BASE}/p/q/x"),
    ("https:", f"{OF_BASE}/p/q/r?x"),
    ("http:x", "http://x/"),
    ("", f"{OF_BASE}/p/q/r?x"),
    ("?", f"{OF_BASE}/p/q/r?"),
    ("#", f"{OF_BASE}/p/q/r?x#"),
    ("..//x", f"{OF_BASE}/p//x"),
    ("a//../b", f"{OF_BASE}/p/q/a/b"),
    ("../../../x", f"{OF_BASE}/x"),
    ("%2e%2E/x", f"{OF_BASE}/p/x"),
    ("./x:y", f"{OF_BASE}/p/q/x:y"),
    ("javascript:x", "javascript:x"),
    ("\u00a0//h", f"{OF_BASE}/p/q/%C2%A0//h"),
]


@pytest.mark.parametrize(("reference", "href"), REFERENCES)
def test_a_reference_leads_where_a_browser_goes(reference: str, href: str) -> None:
    assert parse(reference, BASE).href == href


@pytest.mark.parametrize("reference", ["//", "//?", "///", "//:80/x", "https://", "//h:x"])
def test_a_reference_to_no_host_is_refused(reference: str) -> None:
    with pytest.raises(JsTypeError, match="Invalid URL"):
        parse(reference, BASE)


@pytest.mark.parametrize(
    ("url", "base", "href"),
    [
        ("foo://u:p@H:99/a/../b?'#'", None, "foo://u:p@H:99/b?'#'"),
        ("foo:///p/../q", None, "foo:///q"),
        ("foo:/a/..//b", None, "foo:/.//b"),
        ("foo://é/é", None, "foo://%C3%A9/%C3%A9"),
        ("mailto:a@b c", None, "mailto:a@b c"),
        ("data:x #f", None, "data:x%20#f"),
        ("#f", "data:x?q#e", "data:x?q#f"),
        ("x\\y", "foo://h/a/b", "foo://h/a/x\\y"),
        ("//h", "foo:/a", "foo://h"),
        ("file:///a/../b", None, "file:///b"),
        ("file://localhost/a", None, "file:///a"),
        ("file:a", None, "file:///a"),
        ("//h/x", "file:///a", "file://h/x"),
        ("http://h/^'\ud800?'", None, "http://h/%5E'%EF%BF%BD?%27"),
    ],
)
def test_urls_of_other_schemes_have_the_standards_form(
    url: str, base: str | None, href: str
) -> None:
    assert parse(url, base).href == href
    assert parse(href).href == href


@pytest.mark.parametrize(
    ("url", "base"),
    [("foo://h\\p", None), ("foo://:80/", None), ("foo://u@/", None), ("x", "data:x"), ("", "a:b")],
)
def test_what_has_no_host_or_no_base_is_refused(url: str, base: str | None) -> None:
    with pytest.raises(JsTypeError, match="Invalid URL"):
        parse(url, base)


def test_an_opaque_url_is_no_url_of_a_request() -> None:
    for url in ("mailto:a@b", "foo:/a", "file:///a"):
        with pytest.raises(JsTypeError, match="Invalid URL"):
            normalize(url)


SETTERS = [
    ("hostname", "", "http://u@h:8/p?q#f"),
    ("hostname", "evil/x", "http://u@evil:8/p?q#f"),
    ("hostname", "evil:9", "http://u@h:8/p?q#f"),
    ("hostname", "a@evil", "http://u@h:8/p?q#f"),
    ("host", "Evil:80\\@x", "http://u@evil/p?q#f"),
    ("host", "evil:", "http://u@evil:8/p?q#f"),
    ("host", "evil#x", "http://u@evil:8/p?q#f"),
    ("host", "a b", "http://u@h:8/p?q#f"),
    ("port", "9@evil", "http://u@h:9/p?q#f"),
    ("port", "/x", "http://u@h:8/p?q#f"),
    ("port", 80, "http://u@h/p?q#f"),
    ("port", "65536", "http://u@h:8/p?q#f"),
    ("port", "", "http://u@h/p?q#f"),
    ("pathname", "\\\\x?#", "http://u@h:8//x%3F%23?q#f"),
    ("pathname", "", "http://u@h:8/?q#f"),
    ("search", "??a b#", "http://u@h:8/p??a%20b%23#f"),
    ("search", "", "http://u@h:8/p#f"),
    ("search", "?", "http://u@h:8/p?#f"),
    ("hash", "#", "http://u@h:8/p?q#"),
    ("hash", "", "http://u@h:8/p?q"),
    ("protocol", "https", "https://u@h:8/p?q#f"),
    ("protocol", "ws://evil", "ws://u@h:8/p?q#f"),
    ("protocol", "foo:", "http://u@h:8/p?q#f"),
    ("protocol", "file:", "http://u@h:8/p?q#f"),
    ("username", "a:b@c", "http://a%3Ab%40c@h:8/p?q#f"),
    ("password", "/", "http://u:%2F@h:8/p?q#f"),
    ("username", "", "http://h:8/p?q#f"),
    ("href", "//x", None),
    ("href", "foo:x?y=1", "foo:x?y=1"),
]


@pytest.mark.parametrize(("part", "value", "href"), SETTERS)
def test_a_part_that_is_set_changes_no_other(part: str, value: object, href: str | None) -> None:
    url = URL("http://u@h:8/p?q#f")
    if href is None:
        with pytest.raises(JsTypeError):
            setattr(url, part, value)
    else:
        setattr(url, part, value)
        assert url.href == href


def test_what_a_url_without_a_host_cannot_have_is_not_set() -> None:
    url = URL("mailto:a@b")
    url.host, url.port, url.username, url.password, url.pathname = "h", 1, "u", "p", "/x"
    assert (url.href, url.host, url.hostname) == ("mailto:a@b", "", "")
    file = URL("file:///a")
    file.host, file.protocol = "h:80", "http:"
    assert file.href == "file:///a"
    file.hostname = "localhost"
    assert file.href == "file:///a"


def test_parameters_follow_the_url_and_lead_it() -> None:
    url = URL("http://h/?a=1")
    url.search = "??b=2"
    assert list(url.searchParams) == [("?b", "2")]
    url.href = "http://h/?c=3&c=4"
    assert url.searchParams.has("c", 3)
    assert not url.searchParams.has("c", 5)
    url.searchParams.delete("c", 3)
    assert url.href == "http://h/?c=4"
    url.searchParams.delete("c")
    assert url.href == "http://h/"


def test_parameters_are_written_as_forms_are() -> None:
    assert URLSearchParams("a=~!*'()-._ \t\ud800").toString() == (
        "a=%7E%21*%27%28%29-._+%09%EF%BF%BD"
    )
    sorted_params = URLSearchParams("\uffff=1&😀=2&a=3&a=1")
    sorted_params.sort()
    assert list(sorted_params.values()) == ["3", "1", "2", "1"]
