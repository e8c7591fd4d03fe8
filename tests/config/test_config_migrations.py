"""Migrations and exports decide which classes exist and how they store."""

from __future__ import annotations

import pytest

from dohost.config import ClassRename, Migration
from dohost.config.migrations import evaluate_exports, evaluate_migrations
from dohost.config.sections import Placed
from dohost.config.shape import Findings


def evaluate(*steps: dict[str, object]) -> tuple[dict[str, str], list[str]]:
    findings = Findings()
    placed = Placed(path=("migrations",), value=list(steps))
    _, classes = evaluate_migrations(placed, findings)
    return dict(classes), [finding.message for finding in findings.problems]


def test_a_renamed_class_keeps_its_flavour() -> None:
    classes, problems = evaluate(
        {"tag": "v1", "new_sqlite_classes": ["A"], "new_classes": ["C"]},
        {"tag": "v2", "renamed_classes": [{"from": "A", "to": "B"}]},
    )
    assert (classes, problems) == ({"B": "sqlite", "C": "kv"}, [])


def test_a_name_can_be_deleted_and_made_again_in_one_step() -> None:
    classes, problems = evaluate(
        {"tag": "v1", "new_classes": ["A"]},
        {"tag": "v2", "deleted_classes": ["A"], "new_sqlite_classes": ["A"]},
    )
    assert (classes, problems) == ({"A": "sqlite"}, [])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"deleted_classes": ["X"]},
            "Cannot apply deleted_classes migration to non-existent class X",
        ),
        (
            {"renamed_classes": [{"from": "X", "to": "Y"}]},
            "Cannot apply renamed_classes migration to non-existent class X",
        ),
        ({"new_classes": ["A"]}, "Cannot apply new_classes migration to existing class A"),
        (
            {"new_sqlite_classes": ["A"]},
            "Cannot apply new_sqlite_classes migration to existing class A",
        ),
        ({"tag": "v1"}, 'the migration tag "v1" is used twice.'),
    ],
)
def test_an_impossible_step_is_a_problem(step: dict[str, object], message: str) -> None:
    _, problems = evaluate({"tag": "v1", "new_sqlite_classes": ["A"]}, {"tag": "v2", **step})
    assert problems == [message]


def test_only_live_exports_are_classes_and_the_others_a_migration() -> None:
    exports = {
        "A": {"type": "durable-object"},
        "B": {"type": "durable-object", "storage": "legacy-kv", "state": "created"},
        "C": {"type": "durable-object", "state": "deleted"},
        "D": {"type": "worker"},
        "E": {"type": "durable-object", "state": "renamed", "renamed_to": "A"},
        "F": {"type": "durable-object", "state": "expecting-transfer", "transfer_from": "other"},
        "G": {"type": "durable-object", "state": "transferred", "transferred_to": "other"},
    }
    (migration,), classes = evaluate_exports(Placed(path=("exports",), value=exports))
    assert classes == {"A": "sqlite", "B": "kv", "F": "sqlite"}
    assert migration == Migration(
        tag="",
        deleted_classes=("C",),
        renamed_classes=(ClassRename(from_class="E", to_class="A"),),
        transferred_classes=(ClassRename(from_class="F", to_class="F", from_script="other"),),
    )
    assert evaluate_exports(Placed(path=("exports",), value={"D": {"type": "worker"}})) == ((), {})
