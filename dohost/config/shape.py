"""A small language for the shape of configuration values, and one checker for it.

msgspec would stop at the first wrong value; people want all of them. `check` walks a value beside
its shape and writes every finding down: a wrong type is a problem, an unknown key only a warning
with a suggestion, because wrangler's format grows faster than anyone's list of it.
"""

from __future__ import annotations

import datetime
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from dohost.config.lines import KeyPath

PrimitiveName = Literal["string", "number", "integer", "boolean", "anything"]


class Primitive(msgspec.Struct, frozen=True, kw_only=True):
    """A scalar of one type; with `choices`, one of these values only."""

    name: PrimitiveName
    choices: tuple[str | int, ...] = ()


class ListOf(msgspec.Struct, frozen=True, kw_only=True):
    """A list whose items have one shape."""

    item: Shape


class MapOf(msgspec.Struct, frozen=True, kw_only=True):
    """A table with free keys whose values have one shape."""

    value: Shape


class Either(msgspec.Struct, frozen=True, kw_only=True):
    """A value of one of several shapes; `expected` names them for the message."""

    shapes: tuple[Shape, ...]
    expected: str


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a table. `is_used` is false for keys that are accepted and have no effect here."""

    shape: Shape
    is_required: bool = False
    is_used: bool = True


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table with known keys; `noun` names it in messages about its fields (`binding`)."""

    fields: Mapping[str, Field]
    noun: str | None = None


Shape = Primitive | ListOf | MapOf | Either | Table


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to say about the value at `path`."""

    path: KeyPath
    message: str


class Findings:
    """What was found, in order; `unused` are the paths of accepted keys without effect."""

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []
        self.unused: list[KeyPath] = []

    def problem(self, path: KeyPath, message: str) -> None:
        """Note something that makes the configuration unusable."""
        self.problems.append(Finding(path=path, message=message))

    def warn(self, path: KeyPath, message: str) -> None:
        """Note something that is probably not meant."""
        self.warnings.append(Finding(path=path, message=message))


def dotted(path: KeyPath) -> str:
    """Return the path as people write it: `durable_objects.bindings[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """Return a value as JSON, short enough for a message."""
    text = json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def check(value: object, shape: Shape, *, path: KeyPath, findings: Findings) -> None:
    """Compare `value` with `shape` and write down every difference."""
    match shape:
        case Primitive():
            _check_primitive(value, shape, path=path, findings=findings)
        case Either():
            if not any(_matches(value, option) for option in shape.shapes):
                findings.problem(path, _expected(path, shape.expected, value))
        case ListOf():
            if not isinstance(value, list):
                findings.problem(path, _expected(path, "an array", value))
                return
            for index, item in enumerate(value):
                check(item, shape.item, path=(*path, index), findings=findings)
        case MapOf():
            if not isinstance(value, dict):
                findings.problem(path, _expected(path, "an object", value))
                return
            for key, item in value.items():
                check(item, shape.value, path=(*path, key), findings=findings)
        case Table():
            _check_table(value, shape, path=path, findings=findings)


def unexpected(
    keys: Iterable[str], known: Iterable[str], *, path: KeyPath, findings: Findings
) -> None:
    """Warn of each of `keys` that is not `known`, suggesting the nearest known one."""
    known = list(known)
    where = dotted(path) or "top-level"
    for key in keys:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1)
        suggestion = f'. Did you mean "{near[0]}"?' if near else ""
        findings.warn(
            (*path, key), f'Unexpected fields found in {where} field: "{key}"{suggestion}'
        )


def _matches(value: object, shape: Shape) -> bool:
    trial = Findings()
    check(value, shape, path=(), findings=trial)
    return not trial.problems


def _expected(path: KeyPath, what: str, value: object) -> str:
    return f'Expected "{dotted(path)}" to be {what} but got {shown(value)}.'


def _has_type(value: object, name: PrimitiveName) -> bool:
    match name:
        case "string":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "anything":
            return not isinstance(value, datetime.date | datetime.time)


def _check_primitive(value: object, shape: Primitive, *, path: KeyPath, findings: Findings) -> None:
    if not _has_type(value, shape.name):
        findings.problem(path, _expected(path, f"of type {shape.name}", value))
    elif shape.choices and value not in shape.choices:
        choices = ", ".join(shown(choice) for choice in shape.choices)
        findings.problem(path, _expected(path, f"one of {choices}", value))


def _check_table(value: object, table: Table, *, path: KeyPath, findings: Findings) -> None:
    if not isinstance(value, dict):
        findings.problem(path, _expected(path, "an object", value))
        return
    complaints: list[str] = []
    for key, field in table.fields.items():
        if key not in value:
            if field.is_required:
                complaints.append(_lacks(table, key, field.shape))
            continue
        if not field.is_used:
            findings.unused.append((*path, key))
        elif table.noun and isinstance(field.shape, Primitive) and not field.shape.choices:
            if not _has_type(value[key], field.shape.name):
                complaints.append(_wrong(table, key, field))
        else:
            check(value[key], field.shape, path=(*path, key), findings=findings)
    if complaints:
        lines = "".join(f"\n  - {complaint}" for complaint in complaints)
        findings.problem(path, f'"{dotted(path)}": {shown(value)}{lines}')
    unexpected(value, table.fields, path=path, findings=findings)


def _lacks(table: Table, key: str, shape: Shape) -> str:
    kind = f"{shape.name} " if isinstance(shape, Primitive) else ""
    return f'{table.noun or "it"} should have a {kind}"{key}" field.'


def _wrong(table: Table, key: str, field: Field) -> str:
    assert isinstance(field.shape, Primitive), "called for scalars only"
    if field.is_required:
        return _lacks(table, key, field.shape)
    return f'the field "{key}", when present, should be a {field.shape.name}.'
