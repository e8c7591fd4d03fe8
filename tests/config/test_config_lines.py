"""Every key can be found again in its file."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dohost.config.lines import KeyPath, find_lines

TOML = '''name = "x" # first
[[durable_objects.bindings]]
name = "A"
[[durable_objects.bindings]]
"quoted.name" = """
fake = 1
"""
class_name = "B"
[vars]
list = [1,
  {a = 2, b.c = 3}, # name = 1
]
when = 2025-12-19 07:32:00
[env.staging.vars]
z = 1
'''
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def test_tables_arrays_and_dotted_keys_of_toml_have_lines() -> None:
    lines = find_lines(TOML, "toml")
    expected: dict[KeyPath, int] = {
        ("name",): 1,
        ("durable_objects", "bindings", 0): 2,
        ("durable_objects", "bindings", 0, "name"): 3,
        ("durable_objects", "bindings", 1, "quoted.name"): 5,
        ("durable_objects", "bindings", 1, "class_name"): 8,
        ("vars", "list", 1): 11,
        ("vars", "list", 1, "b", "c"): 11,
        ("vars", "when"): 13,
        ("env", "staging", "vars", "z"): 15,
    }
    assert {path: lines.get(path) for path in expected} == expected


def test_comments_of_json_are_no_keys() -> None:
    lines = find_lines('{ // "a": 1\n/* "b":\n2 */ "c": [\n{"d": "}"},\n{"e": 1}]}', "json")
    assert lines[("c", 1, "e")] == 5
    assert ("a",) not in lines
    assert ("b",) not in lines


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_every_value_of_any_json_document_has_a_line(data: dict[str, object]) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=True)
    raw = {key: json.loads(f'"{key}"') for key in _raw_keys(text)}
    found = {
        tuple(raw.get(part, part) if isinstance(part, str) else part for part in path)
        for path in find_lines(text, "json")
    }
    assert found == set(_paths(data, ()))


def _raw_keys(text: str) -> set[str]:
    return {part for path in find_lines(text, "json") for part in path if isinstance(part, str)}


def _paths(value: object, path: KeyPath) -> list[KeyPath]:
    paths = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            paths += _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            paths += _paths(item, (*path, index))
    return paths
