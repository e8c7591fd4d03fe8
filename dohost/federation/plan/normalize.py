"""An operation with nothing left to decide: fragments inlined, conditions applied, types expanded.

Every selection on an abstract type becomes one selection per object type, unless all subgraphs answer
the interface's own fields alike. `Position` is a place in the response; it hands out the response keys
of fields that only the plan needs, so that they never meet a client's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    Visitor,
    print_ast,
    value_from_ast_untyped,
    visit,
)

from dohost.federation.sdl.model import Kind, named_type
from dohost.federation.supergraph import Supergraph, is_inaccessible


class Position:
    """A place in the response, with the response keys that are taken there."""

    __slots__ = ("_children", "_taken")

    def __init__(self) -> None:
        self._taken: dict[str, tuple[str, str]] = {}
        self._children: dict[str, Position] = {}

    def take(self, response_key: str, name: str, arguments: str) -> None:
        """Note a client's field; different types may use one key differently, then it is nobody's."""
        use = (name, arguments)
        if self._taken.setdefault(response_key, use) != use:
            self._taken[response_key] = ("", "")

    def key_for(self, name: str, arguments: str) -> str:
        """Return the response key under which the plan selects a field for itself."""
        use = (name, arguments)
        if self._taken.setdefault(name, use) == use:
            return name
        for key, taken in self._taken.items():
            if taken == use:
                return key
        key = next(k for n in range(1, 10_000) if (k := f"_{name}_{n}") not in self._taken)
        self._taken[key] = use
        return key

    def child(self, response_key: str) -> Position:
        """Return the place under a response key."""
        if response_key not in self._children:
            self._children[response_key] = Position()
        return self._children[response_key]


class NormalField(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One field of the answer. `selection` is None for a leaf."""

    response_key: str
    name: str
    arguments: str = ""
    variables: frozenset[str] = frozenset()
    type: str
    node: FieldNode | None = None
    selection: NormalSelection | None = None


class NormalSelection(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is asked at a position: the fields for each object type, or for `on` itself if it is kept."""

    on: str
    by_type: Mapping[str, tuple[NormalField, ...]]
    position: Position


class Normalizer:
    """Normalizes one operation for given values of the variables in its conditions."""

    def __init__(
        self,
        supergraph: Supergraph,
        fragments: Mapping[str, FragmentDefinitionNode],
        conditions: Mapping[str, bool],
    ) -> None:
        self._supergraph = supergraph
        self._fragments = fragments
        self._conditions = conditions

    def operation(self, node: OperationDefinitionNode) -> NormalSelection:
        """Normalize a whole operation."""
        return self._selection(node.operation.value.capitalize(), [node.selection_set], Position())

    def _selection(
        self, on: str, sets: Sequence[SelectionSetNode], position: Position
    ) -> NormalSelection:
        expanded = {name: self._fields(name, sets, position) for name in self._expansion(on, sets)}
        return NormalSelection(
            on=on, by_type={n: f for n, f in expanded.items() if f}, position=position
        )

    def _expansion(self, on: str, sets: Sequence[SelectionSetNode]) -> tuple[str, ...]:
        type_ = self._supergraph.types[on]
        if not type_.is_abstract:
            return (on,)
        if type_.kind is Kind.INTERFACE and self._is_uniform(on, sets):
            return (on,)
        return tuple(
            name
            for name in self._supergraph.possible_types(on)
            if not is_inaccessible(self._supergraph.types[name].directives)
        )

    def _is_uniform(self, on: str, sets: Sequence[SelectionSetNode]) -> bool:
        """Tell whether every subgraph answers these fields for the interface as for its objects."""
        fields = self._collect(on, sets, narrow=True)
        if fields is None:
            return False
        interface = self._supergraph.types[on]
        names = {nodes[0].name.value for nodes in fields.values()} - {"__typename"}
        if any(join.is_interface_object for join in interface.joins.values()):
            return "__typename" not in {n[0].name.value for n in fields.values()}
        for graph in interface.joins:
            for name in names:
                if graph not in interface.fields[name].joins:
                    return False
                for possible in self._supergraph.possible_types(on, graph):
                    join = self._supergraph.types[possible].fields[name].joins.get(graph)
                    if join is None or not join.is_resolvable or join.requires:
                        return False
        return True

    def _fields(
        self, on: str, sets: Sequence[SelectionSetNode], position: Position
    ) -> tuple[NormalField, ...]:
        collected = self._collect(on, sets) or {}
        return tuple(self._field(on, key, nodes, position) for key, nodes in collected.items())

    def _field(
        self, on: str, key: str, nodes: Sequence[FieldNode], position: Position
    ) -> NormalField:
        first = nodes[0]
        name = first.name.value
        arguments = ", ".join(sorted(print_ast(a) for a in first.arguments or ()))
        position.take(key, name, arguments)
        # Of the meta fields only `__type` may be null; what they hold is not ours to walk.
        type_text = "String" if name == "__type" else "String!"
        if not name.startswith("__"):
            type_text = self._supergraph.types[on].fields[name].type
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        selection = None
        if sets and not name.startswith("__"):
            selection = self._selection(named_type(type_text), sets, position.child(key))
        return NormalField(
            response_key=key,
            name=name,
            arguments=arguments,
            variables=frozenset(v for a in first.arguments or () for v in variables_in(a)),
            type=type_text,
            node=first,
            selection=selection,
        )

    def _collect(
        self, on: str, sets: Iterable[SelectionSetNode], *, narrow: bool = False
    ) -> dict[str, list[FieldNode]] | None:
        """Gather the fields that apply to type `on`; with `narrow`, None if others apply to its parts."""
        fields: dict[str, list[FieldNode]] = {}
        pending = [
            node for selection in reversed(list(sets)) for node in reversed(selection.selections)
        ]
        while pending:
            node = pending.pop()
            if not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                fields.setdefault(key, []).append(node)
                continue
            assert isinstance(node, FragmentSpreadNode | InlineFragmentNode)
            fragment = (
                self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            )
            condition = fragment.type_condition.name.value if fragment.type_condition else on
            if self._covers(condition, on):
                pending.extend(reversed(fragment.selection_set.selections))
            elif narrow:
                return None
        return fields

    def _covers(self, condition: str, on: str) -> bool:
        if condition == on:
            return True
        wide = self._supergraph.types[condition]
        if not wide.is_abstract:
            return False
        return on in self._supergraph.possible_types(condition) or (
            condition in self._supergraph.types[on].interfaces
        )

    def _is_included(self, node: SelectionNode) -> bool:
        for directive in node.directives or ():
            name = directive.name.value
            if name in ("skip", "include"):
                value = condition_value(directive)
                truth = (
                    self._conditions[value.name.value]
                    if isinstance(value, VariableNode)
                    else bool(value_from_ast_untyped(value))
                )
                if truth is (name == "skip"):
                    return False
        return True


def condition_value(directive: DirectiveNode) -> ValueNode:
    """Return the `if` of a valid `@skip` or `@include`."""
    assert directive.arguments is not None
    return directive.arguments[0].value


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.names.add(node.name.value)


def variables_in(node: object) -> set[str]:
    """Return the names of the variables anywhere inside an AST node."""
    visitor = _Variables()
    visit(node, visitor)  # type: ignore[arg-type]  # any AST node; callers hold values and arguments
    return visitor.names
