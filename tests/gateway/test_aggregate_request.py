"""What an aggregate's body may be, and what its results look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway.aggregate import (
    AggregateCall,
    AggregateRequest,
    CallResult,
    follow,
    parse_aggregate,
    resolve_references,
)
from dohost.gateway.aggregate_answer import answer_aggregate
from dohost.gateway.config_tables import AggregateConfig
from dohost.gateway.problems import Problem, problem

CONFIG = AggregateConfig()


def call(**members: object) -> dict[str, object]:
    return {"service": "users", "method": "get", **members}


def parsed(*calls: dict[str, object], **members: object) -> AggregateRequest:
    found = parse_aggregate({"calls": list(calls), **members}, CONFIG)
    assert isinstance(found, AggregateRequest), found
    return found


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (None, ""),
        ([], ""),
        (7, ""),
        ({}, "/calls"),
        ({"calls": []}, "/calls"),
        ({"calls": {}}, "/calls"),
        ({"calls": [call(**{"as": f"n{n}"}) for n in range(21)]}, "/calls"),
        ({"calls": [7]}, "/calls/0"),
        ({"calls": [call(), {"service": "users"}]}, "/calls/1/method"),
        ({"calls": [call(method="no-name")]}, "/calls/0/method"),
        ({"calls": [call(method="a" * 65)]}, "/calls/0/method"),
        ({"calls": [call(service="us ers")]}, "/calls/0/service"),
        ({"calls": [call(**{"as": "__proto__"})]}, "/calls/0/as"),
        ({"calls": [call(**{"as": ""})]}, "/calls/0/as"),
        ({"calls": [call(**{"as": "errors"})]}, "/calls/0/as"),
        ({"calls": [call(args="x")]}, "/calls/0/args"),
        ({"calls": [call(object="")]}, "/calls/0/object"),
        ({"calls": [call(timeoutMs=0)]}, "/calls/0/timeoutMs"),
        ({"calls": [call(timeoutMs=True)]}, "/calls/0/timeoutMs"),
        ({"calls": [call(optional="yes")]}, "/calls/0/optional"),
        ({"calls": [call(dependsOn="x")]}, "/calls/0/dependsOn"),
        ({"calls": [call(dependsOn=["nobody"])]}, "/calls/0/dependsOn"),
        ({"calls": [call(dependsOn=["users"])]}, "/calls/0/dependsOn"),
        ({"calls": [call(args=[{"$from": 1}])]}, "/calls/0/args/0"),
        ({"calls": [call(args=[{"$from": "users", "path": "id"}])]}, "/calls/0/args/0/path"),
        ({"calls": [call(nope=1)]}, "/calls/0/nope"),
        ({"calls": [call()], "nope": 1}, "/nope"),
        ({"calls": [call()], "mode": "fast"}, "/mode"),
    ],
)
def test_a_fault_anywhere_refuses_all_with_a_pointer_to_it(body: object, pointer: str) -> None:
    found = parse_aggregate(body, CONFIG)
    assert isinstance(found, Problem)
    assert found.status == 400
    errors: Any = found.members["errors"]
    assert errors[0]["pointer"] == f"#{pointer}"


def test_two_calls_with_one_result_name_are_refused_or_numbered() -> None:
    body = {"calls": [call(), call()]}
    found = parse_aggregate(body, CONFIG)
    assert isinstance(found, Problem)
    assert found.type.slug == "duplicate-result-name"
    numbered = parse_aggregate(body, AggregateConfig(duplicates="suffix"))
    assert isinstance(numbered, AggregateRequest)
    assert [each.name for each in numbered.calls] == ["users", "users_2"]


def test_dependencies_come_from_members_and_references() -> None:
    request = parsed(
        call(**{"as": "a"}),
        call(**{"as": "b"}, args={"id": {"$from": "a", "path": "/id"}}, dependsOn=["a"]),
    )
    assert request.calls[1].depends_on == ("a",)
    assert not request.is_independent


def test_a_circle_of_references_is_refused() -> None:
    circle = [call(**{"as": "a"}, dependsOn=["b"]), call(**{"as": "b"}, dependsOn=["a"])]
    found = parse_aggregate({"calls": circle}, CONFIG)
    assert isinstance(found, Problem)
    assert "circle" in found.detail


def test_a_client_can_shorten_the_deadline_and_never_lengthen_it() -> None:
    assert parsed(call(), timeoutMs=5).timeout_ms == 5
    assert parsed(call(), timeoutMs=10_000_000).timeout_ms == CONFIG.timeout_ms


def test_pointers_follow_rfc_6901() -> None:
    document = {"a/b": [{"~": 7}], "": 1}
    assert follow(document, "/a~1b/0/~0") == 7
    assert follow(document, "/") == 1
    assert follow(document, "") == document
    for bad in ("/nope", "/a~1b/1", "/a~1b/x", "/a~1b/0/~0/deeper", "/a~1b/-1"):
        with pytest.raises(LookupError):
            follow(document, bad)


def test_references_are_replaced_wherever_they_are() -> None:
    args = [{"ids": [{"$from": "a", "path": "/id"}], "keep": {"x": 1}}]
    assert resolve_references(args, {"a": {"id": 7}}) == [{"ids": [7], "keep": {"x": 1}}]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_gets_an_answer(body: object) -> None:
    assert isinstance(parse_aggregate(body, CONFIG), (AggregateRequest, Problem))
    assert isinstance(parse_aggregate({"calls": [body]}, CONFIG), (AggregateRequest, Problem))


def result(name: str, outcome: bytes | Problem, *, is_optional: bool = False) -> CallResult:
    failed = isinstance(outcome, Problem)
    return CallResult(
        call=AggregateCall(
            name=name,
            service=name,
            method="get",
            args=[],
            object_value=None,
            timeout_ms=None,
            is_optional=is_optional,
            depends_on=(),
        ),
        value=None if isinstance(outcome, Problem) else outcome,
        problem=outcome if failed and isinstance(outcome, Problem) else None,
        took_ms=1.0,
    )


def answer(*results: CallResult, mode: str = "partial") -> tuple[int, bytes, dict[str, str]]:
    request = parsed(*(call(**{"as": each.call.name}) for each in results), mode=mode)
    made = answer_aggregate(request, results, is_envelope=False)
    return made.status, made.body, dict(made.headers)


def test_results_keep_the_order_of_the_request_and_their_bytes() -> None:
    status, body, headers = answer(result("b", b'{"x":1.0}'), result("a", b"null"))
    assert (status, body) == (200, b'{"b":{"x":1.0},"a":null}')
    assert headers["X-Gateway-Complete"] == "true"


def test_a_partial_failure_is_200_with_a_null_and_its_error() -> None:
    status, body, headers = answer(result("a", b"1"), result("b", problem("circuit-open")))
    assert status == 200
    assert body.startswith(b'{"a":1,"b":null,"errors":[{"name":"b"')
    assert headers["X-Gateway-Complete"] == "false"


def test_an_optional_failure_leaves_the_answer_complete() -> None:
    _, _, headers = answer(result("a", b"1"), result("b", problem("not-found"), is_optional=True))
    assert headers["X-Gateway-Complete"] == "true"


@pytest.mark.parametrize(
    ("slugs", "status"),
    [
        (("circuit-open", "circuit-open"), 503),
        (("unknown-method", "unknown-service"), 404),
        (("insufficient-scope",), 403),
        (("circuit-open", "unknown-method"), 502),
    ],
)
def test_when_all_fail_the_status_tells_their_class(slugs: tuple[str, ...], status: int) -> None:
    results = [result(f"n{index}", problem(slug)) for index, slug in enumerate(slugs)]
    assert answer(*results)[0] == status


def test_all_open_circuits_say_when_to_come_back() -> None:
    waits = [problem("circuit-open", retryAfter=seconds) for seconds in (3, 30)]
    _, _, headers = answer(result("a", waits[0]), result("b", waits[1]))
    assert headers["Retry-After"] == "30"


def test_strict_mode_has_the_status_of_the_first_failure() -> None:
    own, others = problem("unknown-method"), problem("dependency-failed")
    assert answer(result("a", others), result("b", own), mode="strict")[0] == 404


def test_the_envelope_has_results_errors_and_timings_apart() -> None:
    request = parsed(call(**{"as": "a"}))
    made = answer_aggregate(request, [result("a", b"1")], is_envelope=True)
    assert made.body == b'{"results":{"a":1},"errors":[],"complete":true,"timings":{"a":1.0}}'
