"""Variables and arguments as values: checked once at the edge, forwarded as they are after that.

Coercers are closures per type, made once per operation; generic coercion by graphql-core costs more than
the rest of a cached request. Values stay JSON values: subgraphs get what the client meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeGuard

from graphql import (
    OperationDefinitionNode,
    parse_value,
    print_ast,
    value_from_ast_untyped,
)

from dohost.federation.contract import GraphQLError
from dohost.federation.execute.document import RequestRefused
from dohost.federation.sdl.model import Kind
from dohost.federation.supergraph import Supergraph, SuperType, is_inaccessible

Coerce = Callable[[object], object]


class Invalid(ValueError):
    """A value that its type refuses; the message starts with where, if that is inside."""


class Variables:
    """Coerces the variables of one operation."""

    def __init__(self, supergraph: Supergraph, operation: OperationDefinitionNode) -> None:
        self._supergraph = supergraph
        self.types: dict[str, str] = {}
        self._known: list[tuple[str, Coerce, bool, bool, object]] = []
        for definition in operation.variable_definitions or ():
            name, type_text = definition.variable.name.value, print_ast(definition.type)
            default = definition.default_value
            self.types[name] = type_text
            value = None if default is None else value_from_ast_untyped(default)
            required = type_text.endswith("!")
            coerce = self._type(type_text)
            self._known.append((name, coerce, required, default is not None, value))

    def coerce(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the values of all variables that have one. Raises: RequestRefused."""
        values: dict[str, object] = {}
        errors: list[GraphQLError] = []
        for name, coerce, required, has_default, default in self._known:
            if name not in given:
                if has_default:
                    values[name] = coerce(default)
                elif required:
                    errors.append(_refusal(name, "a value is required"))
                continue
            try:
                values[name] = coerce(given[name])
            except Invalid as invalid:
                errors.append(_refusal(name, str(invalid)))
        if errors:
            raise RequestRefused(errors)
        return values

    def _type(self, type_text: str) -> Coerce:
        if type_text.endswith("!"):
            return _non_null(self._type(type_text[:-1]))
        if type_text.startswith("["):
            return _list(self._type(type_text[1:-1]))
        if type_text in _SCALARS:
            return _nullable(_SCALARS[type_text])
        type_ = self._supergraph.types[type_text]
        if type_.kind is Kind.ENUM:
            return _nullable(_enum(type_))
        return _nullable(self._input(type_)) if type_.kind is Kind.INPUT else lambda value: value

    def _input(self, type_: SuperType) -> Coerce:
        fields = {
            name: field.definition
            for name, field in type_.inputs.items()
            if not is_inaccessible(field.definition.directives)
        }
        compiled: dict[str, Coerce] = {}

        def coerce(value: object) -> object:
            if not isinstance(value, Mapping):
                raise Invalid(f"expected an object of type {type_.name}")
            out: dict[str, object] = {}
            for name in value:
                if name not in fields:
                    raise Invalid(f"{type_.name} has no field {name!r}")
            for name, field in fields.items():
                if name not in compiled:
                    compiled[name] = self._type(field.type)  # late: input types may be recursive
                if name in value:
                    out[name] = _inside(name, compiled[name], value[name])
                elif field.default is not None:
                    out[name] = value_from_ast_untyped(parse_value(field.default))
                elif field.is_required:
                    raise Invalid(f"{name}: a value is required")
            return out

        return coerce


def _refusal(name: str, reason: str) -> GraphQLError:
    return {"message": f"Variable ${name}: {reason}", "extensions": {"code": "BAD_USER_INPUT"}}


def _inside(where: object, coerce: Coerce, value: object) -> object:
    try:
        return coerce(value)
    except Invalid as invalid:
        raise Invalid(f"{where}: {invalid}") from invalid


def _non_null(coerce: Coerce) -> Coerce:
    def checked(value: object) -> object:
        if value is None:
            raise Invalid("null is not allowed")
        return coerce(value)

    return checked


def _nullable(coerce: Coerce) -> Coerce:
    return lambda value: None if value is None else coerce(value)


def _list(coerce: Coerce) -> Coerce:
    def each(value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            return [coerce(value)]
        return [_inside(index, coerce, item) for index, item in enumerate(value)]

    return each


def _enum(type_: SuperType) -> Coerce:
    names = {
        name
        for name, value in type_.values.items()
        if not is_inaccessible(value.definition.directives)
    }

    def coerce(value: object) -> object:
        if not isinstance(value, str) or value not in names:
            raise Invalid(f"{value!r} is not a value of {type_.name}")
        return value

    return coerce


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _int(value: object) -> object:
    if not _is_number(value) or value != int(value):
        raise Invalid(f"{value!r} is not an Int")
    if not -(2**31) <= value < 2**31:
        raise Invalid("the value does not fit 32 bits")
    return int(value)


def _float(value: object) -> object:
    if not _is_number(value):
        raise Invalid(f"{value!r} is not a Float")
    return value


def _string(value: object) -> object:
    if not isinstance(value, str):
        raise Invalid(f"{value!r} is not a String")
    return value


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise Invalid(f"{value!r} is not a Boolean")
    return value


def _id(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Invalid(f"{value!r} is not an ID")
    return str(value)


_SCALARS: Mapping[str, Coerce] = {
    "Int": _int,
    "Float": _float,
    "String": _string,
    "Boolean": _boolean,
    "ID": _id,
}
