"""The plan graph: where a query can stand, and where it can go from there.

A node is a type in a subgraph, perhaps seen through a `@provides` (then some fields are resolvable that
otherwise are not) or through a field with `@requires` (entered with more than a key). Nodes and edges are
made on demand and interned, so that a large supergraph costs only what queries touch.

The graph knows nothing of response keys, arguments or plans.
"""

from __future__ import annotations

import msgspec

from dohost.federation.sdl.field_set import FieldSet, SetField, SetFragment, parse_field_set
from dohost.federation.sdl.model import Kind, named_type
from dohost.federation.supergraph import FieldJoin, Supergraph

QUERY = "Query"


class Node(msgspec.Struct, frozen=True, eq=False):
    """A type in a subgraph. `provided` are extra fields that are resolvable here; compare by identity."""

    graph: str
    type: str
    provided: FieldSet = ()


class EntityMove(msgspec.Struct, frozen=True, eq=False):
    """A jump to another subgraph by key; `requires` are inputs beyond the key, for one field.

    `Query` needs no key, since every subgraph has its own: then `representation_type` is empty.
    """

    target: Node
    key: FieldSet
    representation_type: str
    requires: FieldSet = ()


class PlanGraph:
    """Nodes and moves of one supergraph."""

    def __init__(self, supergraph: Supergraph) -> None:
        self.supergraph = supergraph
        self._nodes: dict[tuple[str, str, FieldSet], Node] = {}
        self._moves: dict[str, tuple[EntityMove, ...]] = {}
        self._sets: dict[str, FieldSet] = {}
        self._requires_moves: dict[tuple[str, str], tuple[EntityMove, ...]] = {}

    def node(self, graph: str, type_name: str, provided: FieldSet = ()) -> Node:
        """Return the one node of these coordinates."""
        at = (graph, type_name, provided)
        node = self._nodes.get(at)
        if node is None:
            node = self._nodes[at] = Node(graph, type_name, provided)
        return node

    def roots(self, type_name: str) -> tuple[Node, ...]:
        """Return a root type's node in every subgraph that has the type."""
        return tuple(
            self.node(graph, type_name) for graph in self.supergraph.types[type_name].joins
        )

    def field_set(self, text: str) -> FieldSet:
        """Return a parsed field set; composition has checked its syntax."""
        nodes = self._sets.get(text)
        if nodes is None:
            nodes = self._sets[text] = parse_field_set(text)
        return nodes

    def join(self, node: Node, field: str) -> FieldJoin | None:
        """Return how the node's subgraph takes part in `field`, where it can answer it at all."""
        declared = self.supergraph.types[node.type].fields.get(field)
        join = None if declared is None else declared.joins.get(node.graph)
        if join is None or join.override_label is not None:
            return None  # a progressive override takes nothing over until its label is switched on
        provided = any(isinstance(n, SetField) and n.name == field for n in node.provided)
        return join if join.is_resolvable or provided else None

    def follow(self, node: Node, field: str) -> Node | None:
        """Return where a field that needs nothing else leads from `node`; leaves lead to their type."""
        join = self.join(node, field)
        if join is None or (join.requires and node.provided != _entered_for(field)):
            return None
        return self._landing(node, field, join)

    def _landing(self, node: Node, field: str, join: FieldJoin) -> Node:
        declared = self.supergraph.field_type(node.type, field, node.graph)
        provided: list[SetField | SetFragment] = []
        for inner in node.provided:
            if isinstance(inner, SetField) and inner.name == field:
                provided.extend(inner.selection)
        if join.provides:
            provided.extend(self.field_set(join.provides))
        return self.node(node.graph, named_type(declared), tuple(provided))

    def cast(self, node: Node, type_name: str) -> Node | None:
        """Return the node of an object type that a value at `node` can be, as its subgraph knows it."""
        if node.type == type_name:
            return node
        if type_name not in self.supergraph.possible_types(node.type, node.graph):
            return None
        if node.graph not in self.supergraph.types[type_name].joins:
            return None
        provided: list[SetField | SetFragment] = []
        for inner in node.provided:
            if isinstance(inner, SetFragment):
                if type_name in self.supergraph.possible_types(inner.on):
                    provided.extend(inner.selection)
            else:
                provided.append(inner)
        return self.node(node.graph, type_name, tuple(provided))

    def moves(self, type_name: str) -> tuple[EntityMove, ...]:
        """Return every jump by key that an object of this type can take."""
        moves = self._moves.get(type_name)
        if moves is None:
            moves = self._moves[type_name] = tuple(self._moves_of(type_name))
        return moves

    def _moves_of(self, type_name: str) -> list[EntityMove]:
        type_ = self.supergraph.types[type_name]
        moves: list[EntityMove] = []
        if type_name == QUERY:
            return [EntityMove(self.node(graph, QUERY), (), "") for graph in type_.joins]
        if type_.kind is Kind.OBJECT:
            for graph, join in type_.joins.items():
                target = self.node(graph, type_name)
                moves += [
                    EntityMove(target, self.field_set(key.fields), type_name)
                    for key in join.keys
                    if key.is_resolvable
                ]
        for name in (type_name, *type_.interfaces):
            for graph, join in self.supergraph.types[name].joins.items():
                if join.is_interface_object or (name == type_name and type_.kind is Kind.INTERFACE):
                    moves += [
                        EntityMove(self.node(graph, name), self.field_set(key.fields), name)
                        for key in join.keys
                        if key.is_resolvable
                    ]
        return moves

    def moves_for(self, type_name: str, field: str) -> tuple[EntityMove, ...]:
        """Return the jumps into subgraphs where `field` needs `@requires`, its inputs included."""
        known = self._requires_moves.get((type_name, field))
        if known is not None:
            return known
        moves: list[EntityMove] = []
        for move in self.moves(type_name):
            declared = self.supergraph.types[move.target.type].fields.get(field)
            join = None if declared is None else declared.joins.get(move.target.graph)
            if join is None or not join.requires or not join.is_resolvable:
                continue
            target = self.node(move.target.graph, move.target.type, _entered_for(field))
            moves.append(
                EntityMove(
                    target, move.key, move.representation_type, self.field_set(join.requires)
                )
            )
        return self._requires_moves.setdefault((type_name, field), tuple(moves))


def _entered_for(field: str) -> FieldSet:
    """Mark a node as entered with the inputs of one field, so that the field can be answered there."""
    return (SetField(field, "@requires"),)
