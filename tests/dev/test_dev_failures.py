"""Errors with their source, and nothing secret in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workers import Request

from dohost.dev.error_page import ErrorPage, form_for
from dohost.dev.failures import Redactor, describe, failure_text, frame_text, user_frames
from dohost.errors import ConfigError, Overloaded, UserCodeError
from dohost.objects.rpc import to_remote_error

SOURCE = """\
def handler(limit):
    password = "p"
    label = "é" * limit + "sekrit-value"
    return label + missing.attribute
"""


def failing(directory: Path, source: str = SOURCE) -> BaseException:
    path = directory / "entry.py"
    path.write_text(source)
    scope: dict[str, object] = {}
    try:
        exec(compile(source, str(path), "exec"), scope)
        scope["handler"](2)  # type: ignore[operator] # defined by the source
    except Exception as error:
        return error
    raise AssertionError("the source raises")


def page(directory: Path, error: BaseException, **headers: str) -> tuple[int, str, str]:
    make = ErrorPage(root=directory, redactor=Redactor(["sekrit-value"]))
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = make(error, Request("http://app.test/a?k=sekrit-value", headers=sent))
    body = answer.host_body()
    assert isinstance(body, bytes)
    return answer.status, answer.headers.get("content-type") or "", body.decode()


def test_the_failing_expression_is_underlined(tmp_path: Path) -> None:
    failure = describe(failing(tmp_path), root=tmp_path, redactor=Redactor())
    assert failure_text(failure).startswith("NameError: name 'missing' is not defined")
    lines = frame_text(user_frames(failure)[-1]).splitlines()
    assert lines[0] == "entry.py:4 in handler"
    assert lines[-2:] == [
        "> 4 |     return label + missing.attribute",
        "    |                    ^^^^^^^",
    ]


def test_locals_are_shown_without_secrets(tmp_path: Path) -> None:
    failure = describe(failing(tmp_path), root=tmp_path, redactor=Redactor(["sekrit-value"]))
    values = dict(user_frames(failure)[-1].values)
    assert values == {"limit": "2", "password": "(hidden)", "label": "'éé(hidden)'"}
    assert "sekrit-value" not in repr(failure)


def test_a_syntax_error_behind_a_failed_load_shows_its_place(tmp_path: Path) -> None:
    broken = failing(tmp_path, "x = 1\ny = (\n")
    error = UserCodeError("entry.py could not be loaded")
    error.__cause__ = broken
    failure = describe(error, root=tmp_path, redactor=Redactor())
    text = failure_text(failure)
    assert "SyntaxError: '(' was never closed" in text
    assert "> 2 | y = (\n    |     ^" in text


WRAPPING = """\
def handler(limit):
    try:
        limit["key"]
    except TypeError as error:
        raise ValueError("no luck") from error
"""
REFUSING = """\
from dohost.errors import JsException, StorageFailure

def handler(limit):
    failure = StorageFailure("full", outcome="not-applied")
    raise JsException("KV PUT failed: 507 full") from failure
"""


@pytest.mark.parametrize(
    ("source", "text", "line"),
    [(WRAPPING, "ValueError: no luck", 5), (REFUSING, "Error: KV PUT failed: 507 full", 5)],
)
def test_an_error_with_a_cause_is_shown_itself_where_the_program_met_it(
    tmp_path: Path, source: str, text: str, line: int
) -> None:
    failure = describe(failing(tmp_path, source), root=tmp_path, redactor=Redactor())
    assert failure_text(failure).startswith(f"{text}\n\nentry.py:{line} in handler")


def test_an_exception_that_came_from_another_object_is_shown_where_it_was_raised(
    tmp_path: Path,
) -> None:
    error = to_remote_error(failing(tmp_path), "ab" * 32)
    failure = describe(error, root=tmp_path, redactor=Redactor())
    assert failure_text(failure).startswith(
        "NameError: name 'missing' is not defined\n\nentry.py:4"
    )


def test_endless_recursion_in_another_object_is_shown_where_it_was(tmp_path: Path) -> None:
    endless = failing(tmp_path, "def handler(limit):\n    return handler(limit)\n")
    failure = describe(to_remote_error(endless, "ab" * 32), root=tmp_path, redactor=Redactor())
    assert failure_text(failure).startswith("RecursionError: maximum recursion depth exceeded")


def test_findings_are_shown_as_a_list(tmp_path: Path) -> None:
    failure = describe(ConfigError(("one", "two")), root=tmp_path, redactor=Redactor())
    assert failure_text(failure) == "one\ntwo"


def test_a_value_whose_repr_fails_is_still_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert Redactor().value("x", Broken()) == "<repr failed: RuntimeError>"


@pytest.mark.parametrize(
    ("agent", "accept", "form"),
    [
        ("Mozilla/5.0", "text/html,*/*;q=0.8", "html"),
        ("Mozilla/5.0", "application/json", "json"),
        ("curl/8.0", "*/*", "text"),
        ("curl/8.0", "application/json", "json"),
        ("python", "*/*", "json"),
        (None, None, "json"),
    ],
)
def test_each_client_gets_the_form_that_it_reads(
    agent: str | None, accept: str | None, form: str
) -> None:
    assert form_for(agent, accept) == form


def test_L10_a_browser_gets_an_escaped_page_without_secrets(tmp_path: Path) -> None:
    error = failing(tmp_path, 'def handler(x):\n    raise ValueError("<script>sekrit-value")\n')
    status, kind, body = page(tmp_path, error, accept="text/html", authorization="Bearer abc")
    assert (status, kind) == (500, "text/html; charset=utf-8")
    assert "&lt;script&gt;(hidden)" in body
    assert "<script>" not in body
    assert "sekrit-value" not in body
    assert "Bearer abc" not in body


def test_a_program_gets_the_same_facts_as_a_problem(tmp_path: Path) -> None:
    status, kind, body = page(tmp_path, failing(tmp_path))
    assert (status, kind) == (500, "application/problem+json")
    assert json.loads(body)["frames"][-1] == {"file": "entry.py", "line": 4, "function": "handler"}


def test_L10_curl_gets_the_stack_as_text(tmp_path: Path) -> None:
    _, kind, body = page(tmp_path, failing(tmp_path), user_agent="curl/8", accept="*/*")
    assert kind == "text/plain; charset=utf-8"
    assert body.endswith("NameError: name 'missing' is not defined\n")


def test_an_error_of_the_host_keeps_its_status(tmp_path: Path) -> None:
    assert page(tmp_path, Overloaded("full"))[0] == 503
