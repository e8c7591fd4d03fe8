"""Routing: patterns, precedence, methods, ties, explain, rewriting."""

from __future__ import annotations

import pytest

from dohost.gateway.config_tables import RouteConfig
from dohost.gateway.paths import CanonicalPath, canonical_path
from dohost.gateway.patterns import PatternFault, parse_pattern
from dohost.gateway.routes import (
    Match,
    MethodNotAllowed,
    NotFound,
    RequestFacts,
    RouteTable,
    rewrite_path,
)


def table(*patterns: str, strict: bool = False) -> RouteTable:
    routes = [RouteConfig(pattern=pattern, service=pattern) for pattern in patterns]
    return compiled(*routes, strict=strict)


def compiled(*routes: RouteConfig, strict: bool = False) -> RouteTable:
    made = RouteTable.compile(routes, strict_wildcard=strict)
    assert isinstance(made, RouteTable), made
    return made


def path(raw: str) -> CanonicalPath:
    made = canonical_path(raw)
    assert isinstance(made, CanonicalPath)
    return made


def matched(made: RouteTable, raw: str, method: str = "GET") -> Match:
    found = made.match(method, path(raw))
    assert isinstance(found, Match), found
    return found


@pytest.mark.parametrize(
    ("raw", "prefix", "rest"),
    [
        ("/api/v1/users", "/api/v1/users", ""),
        ("/api/v1/users/", "/api/v1/users", "/"),
        ("/api/v1/users/alice", "/api/v1/users", "/alice"),
        ("/api/v1/users/a/b%20c", "/api/v1/users", "/a/b%20c"),
    ],
)
def test_a_wildcard_takes_what_is_below_and_the_bare_prefix(
    raw: str, prefix: str, rest: str
) -> None:
    found = matched(table("/api/v1/users/*"), raw)
    assert (found.prefix, found.rest) == (prefix, rest)


def test_a_strict_wildcard_leaves_the_bare_prefix_out() -> None:
    made = table("/foo/*", strict=True)
    assert isinstance(made.match("GET", path("/foo")), NotFound)
    assert matched(made, "/foo/").rest == "/"


def test_a_prefix_ends_at_a_segment() -> None:
    made = table("/api/v1/*")
    assert isinstance(made.match("GET", path("/api/v10")), NotFound)
    assert isinstance(made.match("GET", path("/api/v10/x")), NotFound)


def test_without_a_wildcard_nothing_is_stripped() -> None:
    found = matched(table("/reports/{year}"), "/reports/2026")
    assert (found.prefix, found.rest, found.params) == ("", "/reports/2026", {"year": "2026"})
    assert matched(table("/*"), "/a/b").rest == "/a/b"


@pytest.mark.parametrize(
    ("raw", "winner"),
    [
        ("/users/me", "/users/me"),
        ("/users/42", "/users/{id:int}"),
        ("/users/123e4567-e89b-12d3-a456-426614174000", "/users/{id:uuid}"),
        ("/users/u-7", "/users/{id:/u-[0-9]+/}"),
        ("/users/bob", "/users/{name}"),
        ("/users/bob/x", "/users/*"),
        ("/other", "/*"),
        ("/users/", "/users/*"),
    ],
)
def test_literal_beats_typed_beats_parameter_beats_wildcard(raw: str, winner: str) -> None:
    made = table(
        "/*",
        "/users/*",
        "/users/{name}",
        "/users/{id:/u-[0-9]+/}",
        "/users/{id:uuid}",
        "/users/{id:int}",
        "/users/me",
    )
    assert matched(made, raw).route.pattern == winner


def test_precedence_goes_left_to_right_and_backs_out_of_dead_ends() -> None:
    made = table("/a/{x}/c", "/{y}/b/d", "/a/b/e")
    assert matched(made, "/a/b/c").route.pattern == "/a/{x}/c"
    assert matched(made, "/a/b/d").route.pattern == "/{y}/b/d"


def test_parameters_are_decoded_one_segment_each() -> None:
    found = matched(table("/u/:id/o/{n}"), "/u/a%20b/o/%C3%A9")
    assert found.params == {"id": "a b", "n": "é"}


def test_an_empty_segment_is_no_parameter() -> None:
    assert isinstance(table("/u/{id}").match("GET", path("/u/")), NotFound)


def test_an_expression_may_hold_slashes_in_its_braces_and_must_match_whole() -> None:
    made = table("/v/{x:/a|b/}")
    assert matched(made, "/v/a").params == {"x": "a"}
    assert isinstance(made.match("GET", path("/v/ab")), NotFound)


def test_head_is_served_by_get_and_wrong_methods_learn_which_are_right() -> None:
    made = table("GET /r", "PUT,PATCH /r")
    assert matched(made, "/r", "HEAD").route.pattern == "GET /r"
    assert made.match("DELETE", path("/r")) == MethodNotAllowed(
        ("GET", "HEAD", "OPTIONS", "PATCH", "PUT")
    )
    assert isinstance(made.match("DELETE", path("/x")), NotFound)


def test_a_general_route_serves_the_methods_a_special_one_leaves_out() -> None:
    made = table("GET /api/me", "/api/*")
    assert matched(made, "/api/me", "POST").route.pattern == "/api/*"
    assert matched(made, "/api/me").route.pattern == "GET /api/me"


def test_more_matchers_win_host_over_header_over_query_over_method() -> None:
    made = compiled(
        RouteConfig(pattern="/r", service="plain"),
        RouteConfig(pattern="GET /r", service="method"),
        RouteConfig(pattern="/r", service="query", query={"q": "1"}),
        RouteConfig(pattern="/r", service="header", headers={"X-Beta": "1"}),
        RouteConfig(pattern="/r", service="host", hosts=("a.example",)),
    )
    facts = RequestFacts(host="A.example:8787", headers={"x-beta": "1"}, query={"q": "1"})
    order = []
    for host, headers, query, method in (
        (facts.host, facts.headers, facts.query, "GET"),
        ("", facts.headers, facts.query, "GET"),
        ("", {}, facts.query, "GET"),
        ("", {}, {}, "GET"),
        ("", {}, {}, "POST"),
    ):
        found = made.match(
            method, path("/r"), facts=RequestFacts(host=host, headers=headers, query=query)
        )
        assert isinstance(found, Match)
        order.append(found.route.service)
    assert order == ["host", "header", "query", "method", "plain"]


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8787", "[::1]:"])
def test_a_host_can_be_an_address_with_colons(host: str) -> None:
    made = compiled(RouteConfig(pattern="/r", service="six", hosts=("[::1]",)))
    assert isinstance(made.match("GET", path("/r"), facts=RequestFacts(host=host)), Match)
    assert made.match("GET", path("/r"), facts=RequestFacts(host="[")) == NotFound()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/{x}", "/a/{y}"),
        ("GET /a", "GET,PUT /a"),
        ("/a/*", "/a/**"),
        ("/a/{x:int}", "/a/{y:int}"),
    ],
)
def test_a_true_tie_is_a_problem_at_load(one: str, other: str) -> None:
    routes = [RouteConfig(pattern=pattern, service="s") for pattern in (one, other)]
    problems = RouteTable.compile(routes)
    assert isinstance(problems, tuple)
    assert one in problems[0].message
    assert other in problems[0].path


def test_a_priority_or_disjoint_matchers_break_a_tie() -> None:
    made = compiled(
        RouteConfig(pattern="/a/{x}", service="low"),
        RouteConfig(pattern="/a/{y}", service="high", priority=1),
    )
    assert matched(made, "/a/1").route.service == "high"
    compiled(
        RouteConfig(pattern="GET /a", service="s", headers={"x": "1"}),
        RouteConfig(pattern="GET /a", service="s", headers={"x": "2"}),
        RouteConfig(pattern="PUT /a", service="s"),
        RouteConfig(pattern="GET /a", service="s"),
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        "get /a",
        "GET  /a",
        "/a/*/b",
        "/a*",
        "/f.{ext}",
        "/{x}/{x}",
        "/{x:float}",
        "/{x:/(/}",
        "/a/../b",
        "/a%2fb",
        "/{1x}",
    ],
)
def test_bad_patterns_are_refused_with_a_reason(pattern: str) -> None:
    fault = parse_pattern(pattern)
    assert isinstance(fault, PatternFault)
    assert fault.reason


def test_explain_says_why_each_route_did_not_serve() -> None:
    made = table("GET /u/{id}", "POST /u/{id}", "/u/*", "/o/*")
    verdicts = {each.pattern: each for each in made.explain("GET", path("/u/1"))}
    assert next(iter(verdicts)) == "GET /u/{id}"
    assert verdicts["GET /u/{id}"].chosen
    assert "POST only" in verdicts["POST /u/{id}"].reason
    assert "GET /u/{id}" in verdicts["/u/*"].reason
    assert verdicts["/o/*"].reason == "has another path"


def test_a_rewrite_fills_in_encoded_values_and_the_rest() -> None:
    report = RouteConfig(pattern="/r/{year}/*", service="s", rewrite="/years/{year}/{rest}")
    found = matched(compiled(report), "/r/a%20b/x%20y/z")
    assert rewrite_path(found) == "/years/a%20b/x%20y/z"
    assert rewrite_path(matched(table("/u/*"), "/u")) == "/"


def test_a_rewritten_value_cannot_add_a_segment() -> None:
    report = RouteConfig(pattern="/r/{x}", service="s", rewrite="/y/{x}")
    assert rewrite_path(matched(compiled(report), "/r/a@b;c")) == "/y/a%40b%3Bc"


def test_a_rewrite_that_names_what_the_path_lacks_is_a_problem() -> None:
    route = RouteConfig(pattern="/r/{x}", service="s", rewrite="/y/{z}")
    problems = RouteTable.compile([route])
    assert isinstance(problems, tuple)
    assert "z" in problems[0].message


def test_a_header_matcher_decides_each_time() -> None:
    made = compiled(
        RouteConfig(pattern="/a", service="beta", headers={"X-Beta": "1"}),
        RouteConfig(pattern="/a", service="stable"),
    )
    for beta, service in (("1", "beta"), ("0", "stable"), ("1", "beta")):
        found = made.match("GET", path("/a"), facts=RequestFacts(headers={"x-beta": beta}))
        assert isinstance(found, Match)
        assert found.route.service == service
