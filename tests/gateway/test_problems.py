"""Error answers: one shape, from one table."""

from __future__ import annotations

import json

import pytest

from dohost.gateway.problems import PROBLEM_TYPES, problem


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
def test_every_type_has_a_status_a_title_and_a_detail(slug: str) -> None:
    kind = PROBLEM_TYPES[slug]
    assert 400 <= kind.status <= 599
    assert kind.title
    assert kind.detail.endswith(".")
    assert kind.uri.endswith(slug)


async def test_a_problem_becomes_a_response() -> None:
    made = problem(
        "circuit-open", service="users", retryAt=5, headers=(("Retry-After", "3"), ("Vary", "A"))
    )
    answer = made.to_response(instance="/x", request_id="r")
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert json.loads(await answer.text()) == {
        "type": "/problems/circuit-open",
        "title": "Circuit open",
        "status": 503,
        "detail": "The service fails and is given time to recover.",
        "instance": "/x",
        "requestId": "r",
        "service": "users",
        "retryAt": 5,
    }


def test_members_cannot_replace_the_standard_ones() -> None:
    body = problem("not-found", title="evil", type="evil").as_dict(request_id="r")
    assert body["title"] == "Not found"
    assert body["type"] == "/problems/not-found"


async def test_a_lone_surrogate_in_a_detail_is_no_500() -> None:
    answer = problem("bad-request", "what is \ud800?").to_response()
    assert json.loads(await answer.text())["detail"] == "what is \ud800?"


def test_fields_of_one_name_are_joined() -> None:
    made = problem("not-found", headers=(("Vary", "A"), ("Vary", "B")))
    assert made.to_response().headers["vary"] == "A, B"
