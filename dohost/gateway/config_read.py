"""Reads plain data into the configuration's structs and collects everything that is wrong.

msgspec stops at the first fault; a person who edits a file wants all of them. So tables are walked
here, key by key, and msgspec only judges the leaves. Keys are snake_case or their camelCase form.
This file knows types, not meanings: what a table means is said in `config.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from dohost.gateway.config_tables import BreakerConfig, ConfigProblem

Table = TypeVar("Table", bound=Struct)
ALIASES: Mapping[type[Struct], Mapping[str, str]] = {BreakerConfig: {"timeout": "timeout_ms"}}
MISSING = object()


class Findings:
    """The problems found so far."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[ConfigProblem] = []

    def add(self, path: str, message: str, *, word: str = "", known: Iterable[str] = ()) -> None:
        """Record a problem; the nearest of `known` to `word` becomes the suggestion."""
        suggestion = next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
        self.problems.append(ConfigProblem(path=path, message=message, suggestion=suggestion))


def camel(name: str) -> str:
    """Return the camelCase form of a snake_case name."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def join(path: str, key: str) -> str:
    """Return the path of a member; keys that aren't plain names are quoted."""
    step = key if re.fullmatch(r"[A-Za-z_$][\w$-]*", key) else f'"{key}"'
    return f"{path}.{step}"


def read_table(cls: type[Table], value: object, *, path: str, findings: Findings) -> Table | None:
    """Return `value` as a `cls`, or `None` after recording why not."""
    if not isinstance(value, Mapping):
        findings.add(path, f"expected a table, got {kind_of(value)}.")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    names = {camel(name): name for name in fields} | {name: name for name in fields}
    names.update(ALIASES.get(cls, {}))
    found: dict[str, object] = {}
    for key, item in value.items():
        name = names.get(str(key))
        if name is None:
            findings.add(join(path, str(key)), "unknown key.", word=str(key), known=names)
        elif name in found:
            findings.add(join(path, str(key)), f"{name} is set twice.")
        else:
            found[name] = read_value(
                fields[name].type, item, path=join(path, str(key)), findings=findings
            )
    for name, field in fields.items():
        if field.required and name not in found:
            findings.add(join(path, name), "is required.")
    missing = any(field.required and name not in found for name, field in fields.items())
    if missing or MISSING in found.values():
        return None
    return cls(**found)


def read_value(kind: object, value: object, *, path: str, findings: Findings) -> object:
    """Return `value` as a `kind`, or `MISSING` after recording why not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in arguments:
        if value is None:
            return None
        rest = [argument for argument in arguments if argument is not NoneType]
        return read_value(rest[0], value, path=path, findings=findings)
    if isinstance(kind, type) and issubclass(kind, Struct):
        table = read_table(kind, value, path=path, findings=findings)
        return MISSING if table is None else table
    if origin is tuple and is_table(arguments[0]) and isinstance(value, (list, tuple)):
        items = [
            read_value(arguments[0], item, path=f"{path}[{index}]", findings=findings)
            for index, item in enumerate(value)
        ]
        return MISSING if MISSING in items else tuple(items)
    if origin is not None and is_mapping(origin) and is_table(arguments[1]):
        return read_named(cast("type[Struct]", arguments[1]), value, path=path, findings=findings)
    return read_leaf(kind, value, path=path, findings=findings)


def read_named(cls: type[Table], value: object, *, path: str, findings: Findings) -> object:
    """Return a map of tables, or `MISSING` after recording why not."""
    if not isinstance(value, Mapping):
        findings.add(path, f"expected a table, got {kind_of(value)}.")
        return MISSING
    items = {
        str(name): read_table(cls, item, path=join(path, str(name)), findings=findings)
        for name, item in value.items()
    }
    return MISSING if None in items.values() else items


def read_leaf(kind: object, value: object, *, path: str, findings: Findings) -> object:
    """Return a scalar or a list of scalars, or `MISSING` after recording why not."""
    try:
        return msgspec.convert(value, cast("type[object]", kind))
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        choices = literals(kind)
        if choices and isinstance(value, (str, int)):
            message = f"{value!r} is not one of {', '.join(map(repr, choices))}"
        where = path + inner.removesuffix("`").replace("[...]", "[]")
        text = message[:1].lower() + message[1:] + "."
        findings.add(where, text.replace("`", ""), word=str(value), known=map(str, choices))
        return MISSING


def literals(kind: object) -> tuple[object, ...]:
    """Return the choices of a `Literal`, or nothing for another kind."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def is_table(kind: object) -> bool:
    """True for a configuration struct."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def is_mapping(origin: object) -> bool:
    """True for the origin of a mapping type."""
    return origin is not Annotated and isinstance(origin, type) and issubclass(origin, Mapping)


def kind_of(value: object) -> str:
    """Name a JSON kind for a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
