"""Compiling selections against a service's own types.

Types that a service only names (their owner is another service) are taken as they come: whatever is
asked of them is read from the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    ValueNode,
    parse_value,
    value_from_ast_untyped,
)

from dohost.errors import CallerError
from dohost.federation.plan.normalize import condition_value
from dohost.federation.sdl.model import FieldDef, Kind, TypeDef, named_type


class Condition(msgspec.Struct, frozen=True):
    """`@skip` or `@include` with its value: keep the field if the value equals `keep_if`."""

    value: ValueNode
    keep_if: bool


class FieldStep(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One field to resolve."""

    response_key: str
    name: str
    owner: str
    type: str
    kind: Kind | None
    arguments: Mapping[str, ValueNode]
    defaults: Mapping[str, object]
    conditions: tuple[Condition, ...]
    selection: Selection | None


class Selection(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to resolve on a value, by its object type; `anyway` is for types that none is named for."""

    on: str
    by_type: Mapping[str, tuple[FieldStep, ...]]
    anyway: tuple[FieldStep, ...]


class Compiler:
    """Compiles selections against a service's types; types it only names are taken as they come."""

    def __init__(
        self,
        types: Mapping[str, TypeDef],
        fragments: Mapping[str, FragmentDefinitionNode],
    ) -> None:
        self._types = types
        self._fragments = fragments

    def selection(self, on: str, node: SelectionSetNode) -> Selection:
        """Compile one selection set."""
        return Selection(
            on=on,
            by_type={name: self._steps(name, [node]) for name in self._possible(on)},
            anyway=self._steps(on, [node]),
        )

    def _possible(self, on: str) -> Sequence[str]:
        if on == "_Entity":
            return [name for name, t in self._types.items() if t.kind is Kind.OBJECT]
        type_ = self._types.get(on)
        if type_ is None:
            return ()
        if type_.kind is Kind.UNION:
            return type_.members
        if type_.kind is Kind.INTERFACE:
            return [
                n for n, t in self._types.items() if on in t.interfaces and t.kind is Kind.OBJECT
            ]
        return ()

    def _steps(self, on: str, sets: Sequence[SelectionSetNode]) -> tuple[FieldStep, ...]:
        nodes: dict[str, list[tuple[FieldNode, tuple[Condition, ...]]]] = {}
        for node in sets:
            self._collect(on, node, (), nodes)
        return tuple(self._step(on, key, found) for key, found in nodes.items())

    def _collect(
        self,
        on: str,
        selection: SelectionSetNode,
        outer: tuple[Condition, ...],
        nodes: dict[str, list[tuple[FieldNode, tuple[Condition, ...]]]],
    ) -> None:
        for node in selection.selections:
            conditions = outer + _conditions(node)
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                nodes.setdefault(key, []).append((node, conditions))
                continue
            assert isinstance(node, FragmentSpreadNode | InlineFragmentNode)
            fragment = (
                self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            )
            condition = fragment.type_condition
            if condition is None or self._covers(condition.name.value, on):
                self._collect(on, fragment.selection_set, conditions, nodes)

    def _covers(self, condition: str, on: str) -> bool:
        return (
            condition == on
            or on in self._possible(condition)
            or (on in self._types and condition in self._types[on].interfaces)
        )

    def _step(
        self, on: str, key: str, found: list[tuple[FieldNode, tuple[Condition, ...]]]
    ) -> FieldStep:
        node, conditions = found[0]
        name = node.name.value
        declared = self._declared(on, name)
        type_text = "_Any" if declared is None else declared.type
        target = self._types.get(named_type(type_text))
        sets = [n.selection_set for n, _ in found if n.selection_set is not None]
        selection = None
        if sets:
            merged = SelectionSetNode(selections=tuple(s for each in sets for s in each.selections))
            selection = self.selection(named_type(type_text), merged)
        return FieldStep(
            response_key=key,
            name=name,
            owner=on,
            type=type_text,
            kind=None if target is None else target.kind,
            arguments={a.name.value: a.value for a in node.arguments or ()},
            defaults=_defaults(declared),
            conditions=conditions,
            selection=selection,
        )

    def _declared(self, on: str, name: str) -> FieldDef | None:
        if name == "_entities":
            return FieldDef(name=name, type="[_Entity]!")
        if name == "_service":
            return FieldDef(name=name, type="_Service!")
        type_ = self._types.get(on)
        if type_ is None or name == "__typename":
            return None
        if name not in type_.fields:
            raise CallerError(f"type {on} has no field {name!r} in this service")
        return type_.fields[name]


def _conditions(
    node: object,
) -> tuple[Condition, ...]:
    return tuple(
        Condition(condition_value(directive), directive.name.value == "include")
        for directive in getattr(node, "directives", None) or ()
        if directive.name.value in ("skip", "include")
    )


def _defaults(declared: FieldDef | None) -> Mapping[str, object]:
    if declared is None:
        return {}
    return {
        name: value_from_ast_untyped(parse_value(argument.default))
        for name, argument in declared.arguments.items()
        if argument.default is not None
    }
