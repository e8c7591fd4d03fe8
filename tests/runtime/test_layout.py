"""The layout of a data directory: which key belongs to which class."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohost.errors import CallerError
from dohost.runtime.layout import LAYOUT_NAME, Layout, read_layout, write_layout


def test_a_key_stays_with_its_objects_and_is_given_once() -> None:
    layout = Layout().with_namespace("app", "B", "app-A")
    assert layout.unique_key("app", "B") == "app-A"
    assert layout.unique_key("app", "C") == "app-C"
    assert layout.unique_key("app", "A") == "app-A-2"
    layout = layout.with_namespace("app", "A", "app-A-2").with_namespace("app", "B", None)
    assert layout.unique_key("app", "A") == "app-A-2"
    assert layout.unique_key("app", "B") == "app-B"
    assert layout.with_namespace("app", "A", None).namespaces == {}


def test_a_layout_is_written_and_read_whole(tmp_path: Path) -> None:
    layout = Layout().with_namespace("app", "B", "app-A").with_applied("app", ("v1", "v2"))
    write_layout(tmp_path, layout)
    assert read_layout(tmp_path) == layout
    assert [each.name for each in tmp_path.iterdir()] == [LAYOUT_NAME]


def test_no_layout_is_the_first_one(tmp_path: Path) -> None:
    assert read_layout(tmp_path / "nothing") == Layout()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"format": 2, "namespaces": "of another shape"}',
            "a newer dohost wrote.*--persist-to DIR",
        ),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1, "applied": 5}', "is damaged"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / LAYOUT_NAME).write_text(content)
    with pytest.raises(CallerError, match=message):
        read_layout(tmp_path)
