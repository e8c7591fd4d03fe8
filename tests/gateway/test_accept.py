"""`Accept` beyond GraphQL: a type that is named, and one that is named to be refused."""

from __future__ import annotations

import pytest

from dohost.gateway.accept import names, wanted
from dohost.gateway.streaming import EVENT_STREAM, NDJSON, content_type_of


@pytest.mark.parametrize(
    ("accept", "is_named"),
    [
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("text/event-stream", True),
        ("TEXT/Event-Stream", True),
        ("text/html, text/event-stream;q=0.1", True),
        ("text/event-stream; q=0", False),
        ("text/event-stream;Q=0.000, */*", False),
        ("text/event-stream;q=0, text/event-stream", True),
        ("text/event-stream-of-mine", False),
        ("text/event-stream;q=nonsense", True),
    ],
)
def test_a_type_is_asked_for_by_its_name_and_not_with_a_weight_of_zero(
    accept: str, *, is_named: bool
) -> None:
    assert names(accept, EVENT_STREAM) == is_named
    assert content_type_of(accept) == (EVENT_STREAM if is_named else NDJSON)


def test_ranges_that_say_no_are_no_wish() -> None:
    accept = "application/vnd.api.v1+json;q=0, application/vnd.api.v2+json;q=0.5, */*"
    assert [text.strip() for text in wanted(accept)] == [
        "application/vnd.api.v2+json;q=0.5",
        "*/*",
    ]
