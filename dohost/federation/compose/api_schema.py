"""The schema that clients see: the supergraph without joins and without inaccessible elements."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dohost.federation.sdl.model import Applied, InputDef, Kind, named_type
from dohost.federation.supergraph import (
    SuperField,
    Supergraph,
    SuperType,
    is_inaccessible,
)


def print_api_schema(supergraph: Supergraph) -> str:
    """Print the API schema as SDL, types by name."""
    visible = {n for n, t in supergraph.types.items() if not is_inaccessible(t.directives)}
    return "\n\n".join(_type(supergraph.types[name], visible) for name in sorted(visible)) + "\n"


def _type(type_: SuperType, visible: set[str]) -> str:
    return describe(type_.description) + _header(type_, visible) + _body(type_, visible)


def _header(type_: SuperType, visible: set[str]) -> str:
    interfaces = [name for name in type_.interfaces if name in visible]
    implements = f" implements {' & '.join(interfaces)}" if interfaces else ""
    return f"{type_.kind} {type_.name}{implements}{print_applied(type_.directives)}"


def _body(type_: SuperType, visible: set[str]) -> str:
    if type_.kind is Kind.UNION:
        return " = " + " | ".join(member for member in type_.members if member in visible)
    if type_.kind is Kind.ENUM:
        values = [v.definition for v in type_.values.values()]
        return block(
            f"{describe(v.description, indent='  ')}  {v.name}{print_applied(v.directives)}"
            for v in values
            if not is_inaccessible(v.directives)
        )
    if type_.kind is Kind.INPUT:
        inputs = [value.definition for value in type_.inputs.values()]
        return block("  " + print_input(i) for i in inputs if not is_inaccessible(i.directives))
    if type_.kind is Kind.SCALAR:
        return ""
    return block(
        _field(field)
        for field in type_.fields.values()
        if not is_inaccessible(field.directives) and _is_visible(field.type, visible)
    )


def _is_visible(type_text: str, visible: set[str]) -> bool:
    name = named_type(type_text)
    return name in visible or name in ("Int", "Float", "String", "Boolean", "ID")


def _field(field: SuperField) -> str:
    arguments = print_arguments(
        a for a in field.arguments.values() if not is_inaccessible(a.directives)
    )
    head = f"  {field.name}{arguments}: {field.type}{print_applied(field.directives)}"
    return describe(field.description, indent="  ") + head


def block(lines: Iterable[str]) -> str:
    """Return the lines of a definition in braces."""
    return " {\n" + "\n".join(lines) + "\n}"


def describe(description: str | None, *, indent: str = "") -> str:
    """Return a description as its own line, or nothing."""
    return f"{indent}{json.dumps(description, ensure_ascii=False)}\n" if description else ""


def print_arguments(arguments: Iterable[InputDef]) -> str:
    """Print the argument list of a field, parentheses included."""
    printed = ", ".join(print_input(argument) for argument in arguments)
    return f"({printed})" if printed else ""


def print_input(definition: InputDef) -> str:
    """Print one argument or input field."""
    default = f" = {definition.default}" if definition.default is not None else ""
    return f"{definition.name}: {definition.type}{default}{print_applied(definition.directives)}"


def print_applied(directives: Iterable[Applied], *, also: frozenset[str] = frozenset()) -> str:
    """Print GraphQL's own directives, and those named in `also`."""
    shown = {"deprecated", "specifiedBy", "oneOf"} | also
    return "".join(
        f" @{applied.name}{_applied_arguments(applied)}"
        for applied in directives
        if applied.name in shown
    )


def _applied_arguments(applied: Applied) -> str:
    printed = ", ".join(f"{n}: {json.dumps(v)}" for n, v in applied.arguments.items())
    return f"({printed})" if printed else ""
