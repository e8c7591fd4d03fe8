"""The checker of ledgers sees what it is there to see."""

from __future__ import annotations

import json

import pytest

from tests.simulation.ledger import Outcome, Record, Violation, outcome_of, problem_of
from tests.simulation.server_process import Answer


def record() -> Record:
    """Three operations: read, acknowledged since, and refused since."""
    return Record(
        outcomes={
            "1": Outcome.acknowledged,
            "2": Outcome.acknowledged,
            "3": Outcome.not_applied,
            "4": Outcome.unknown,
        },
        places={"1": 1, "2": 2},
        seen=["1"],
        sent_since={"2", "3", "4"},
    )


@pytest.mark.parametrize("items", [["1", "2"], ["1", "2", "4"]])
def test_what_may_be(items: list[str]) -> None:
    assert problem_of(record(), items, len(items)) is None


@pytest.mark.parametrize(
    ("items", "count", "problem"),
    [
        (["1"], 1, "lost"),
        (["1", "4"], 2, "lost"),
        (["2", "1"], 2, "forgot"),
        ([], 0, "forgot"),
        (["1", "2"], 3, "torn"),
        (["1", "2", "3"], 3, "applied: 3"),
        (["1", "2", "0"], 3, "came back"),
        (["1", "2", "4", "4"], 4, "applied twice"),
    ],
)
def test_what_may_not_be(items: list[str], count: int, problem: str) -> None:
    assert str(problem_of(record(), items, count)).startswith(problem)


def answer(status: int, code: str, **headers: str) -> Answer:
    kind = {"content-type": "application/problem+json"}
    return Answer(status=status, headers=kind | headers, body=json.dumps({"code": code}))


def test_clear_answers() -> None:
    ok = Answer(status=200, headers={}, body="1")
    assert outcome_of(ok) is Outcome.acknowledged
    assert outcome_of(answer(507, "storage-full")) is Outcome.not_applied
    assert outcome_of(answer(500, "outcome-unknown")) is Outcome.unknown


@pytest.mark.parametrize(
    "unclear",
    [
        Answer(status=500, headers={"content-type": "text/html"}, body="Traceback"),
        answer(500, "internal"),
        answer(500, "storage-full"),
        answer(503, "storage-failed"),
    ],
)
def test_unclear_answers(unclear: Answer) -> None:
    with pytest.raises(Violation):
        outcome_of(unclear)
