"""From fetch graph to plan: operations are printed, and fetches of one wave that can share a request do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from dohost.federation.plan.arguments import parse_arguments
from dohost.federation.plan.fetch_graph import FetchNode, Selected
from dohost.federation.plan.plan import EntityTarget, Fetch, InputField, Rename, RootUse
from dohost.federation.plan.walk import FieldUse
from dohost.federation.sdl.model import Kind
from dohost.federation.supergraph import Supergraph


class _Printed(msgspec.Struct, frozen=True, kw_only=True):
    """One fetch of a wave with its selection as text, before it is grouped with others."""

    node: FetchNode
    text: str
    variables: frozenset[str]
    renames: tuple[Rename, ...]


class Finisher:
    """Turns waves of fetch nodes into waves of fetches."""

    def __init__(
        self, supergraph: Supergraph, variable_types: Mapping[str, str], *, kind: str
    ) -> None:
        self._supergraph = supergraph
        self._variable_types = variable_types
        self._kind = kind

    def wave(self, nodes: Sequence[FetchNode]) -> tuple[Fetch, ...]:
        """Return the requests of one wave."""
        groups: dict[object, list[_Printed]] = {}
        for node in itertools.chain.from_iterable(map(self._apart, nodes)):
            printed = _Printer(self._supergraph, node.graph).print(node)
            groups.setdefault(self._group(printed, groups), []).append(printed)
        return tuple(self._fetch(group) for group in groups.values())

    def _apart(self, node: FetchNode) -> Iterator[FetchNode]:
        """Split root fields below the root where each has an object of its own to ask."""
        if node.inputs is not None or not node.path:
            yield node
            return
        if not self._supergraph.graphs[node.graph].root_fields_apart:
            yield node
            return
        for key, field in node.selection.fields.items():
            selection = Selected(node.selection.type)
            selection.fields[key] = field
            yield FetchNode(node.graph, path=node.path, selection=selection)

    def _group(self, printed: _Printed, groups: Mapping[object, list[_Printed]]) -> object:
        """Entities of different types, or of one type with one selection, share a request."""
        node = printed.node
        if node.inputs is None:
            return id(node)
        serial = 0
        while True:
            at = (node.graph, serial)
            if all(self._fits(printed, other) for other in groups.get(at, ())):
                return at
            serial += 1

    def _fits(self, one: _Printed, other: _Printed) -> bool:
        if one.renames or other.renames:
            return False
        same = one.node.representation_type == other.node.representation_type
        return one.text == other.text if same else not self._clashes(one.node, other.node)

    def _clashes(self, one: FetchNode, other: FetchNode) -> bool:
        """Tell whether one request would give unlike types to one response key."""
        for key in one.selection.fields.keys() & other.selection.fields.keys():
            (mine, mine_inner), (theirs, theirs_inner) = (
                node.selection.fields[key] for node in (one, other)
            )
            if mine_inner is not None or theirs_inner is not None:
                return True
            if self._leaf_type(one, mine) != self._leaf_type(other, theirs):
                return True
        return False

    def _leaf_type(self, node: FetchNode, use: FieldUse) -> str:
        if use.name == "__typename":
            return "String!"
        return self._supergraph.field_type(node.selection.type, use.name, node.graph)

    def _fetch(self, group: Sequence[_Printed]) -> Fetch:
        first = group[0].node
        variables = sorted({name for printed in group for name in printed.variables})
        declared = [f"${name}: {self._variable_types[name]}" for name in variables]
        if first.inputs is None:
            head = f"({', '.join(declared)})" if declared else ""
            kind = "query" if first.path else self._kind
            return Fetch(
                service=self._supergraph.graphs[first.graph].name,
                kind=kind,
                text=f"{kind}{head} {group[0].text}",
                at=first.path,
                variables=tuple(variables),
                root_fields=tuple(
                    RootUse(
                        response_key=key, name=use.name, arguments=parse_arguments(use.arguments)
                    )
                    for key, (use, _) in first.selection.fields.items()
                ),
                renames=group[0].renames,
            )
        declared.insert(0, "$representations: [_Any!]!")
        fragments = dict.fromkeys(f"... on {p.node.selection.type} {p.text}" for p in group)
        inner = " ".join(fragments)
        return Fetch(
            service=self._supergraph.graphs[first.graph].name,
            kind="query",
            text=f"query({', '.join(declared)}) "
            f"{{ _entities(representations: $representations) {{ {inner} }} }}",
            variables=tuple(variables),
            targets=tuple(self._target(printed.node) for printed in group),
            renames=tuple(r for printed in group for r in printed.renames),
        )

    def _target(self, node: FetchNode) -> EntityTarget:
        assert node.inputs is not None
        inputs = _joined(node.inputs)
        return EntityTarget(
            path=node.path,
            type=node.representation_type,
            inputs=inputs,
            required=frozenset(i.name for i in inputs if self._is_required(node, i)),
        )

    def _is_required(self, node: FetchNode, field: InputField) -> bool:
        declared = self._supergraph.types[node.representation_type].fields.get(field.name)
        non_null = declared is not None and declared.type.endswith("!")
        return non_null or field.name in node.key_names


def _joined(inputs: Sequence[InputField]) -> tuple[InputField, ...]:
    """Join inputs that read one field, so that a representation names each member once."""
    merged: dict[tuple[str, str, str], InputField] = {}
    for field in inputs:
        at = (field.name, field.response_key, field.on)
        known = merged.get(at)
        if known is None:
            merged[at] = field
        elif known.inputs:
            merged[at] = msgspec.structs.replace(
                known, inputs=_joined([*known.inputs, *field.inputs])
            )
    return tuple(merged.values())


class _Printer:
    """Prints the selection of one fetch and collects what the text depends on."""

    def __init__(self, supergraph: Supergraph, graph: str) -> None:
        self._supergraph = supergraph
        self._graph = graph
        self._variables: set[str] = set()
        self._renames: list[Rename] = []

    def print(self, node: FetchNode) -> _Printed:
        text = self._selection(node.selection, ())
        return _Printed(
            node=node,
            text=text,
            variables=frozenset(self._variables),
            renames=tuple(self._renames),
        )

    def _selection(self, selected: Selected, path: tuple[str, ...]) -> str:
        type_ = self._supergraph.types[selected.type]
        parts: list[str] = []
        joined = type_.joins.get(self._graph)
        is_object = joined is not None and joined.is_interface_object
        if type_.kind in (Kind.INTERFACE, Kind.UNION) and not is_object:
            parts.append("__typename")
        aliases = self._aliases(selected)
        parts += [
            self._field(use, inner, path=path, alias=key)
            for key, (use, inner) in selected.fields.items()
            if key != "__typename" or "__typename" not in parts
        ]
        for name, fragment in selected.fragments.items():
            if not fragment.is_empty():
                parts.append(f"... on {name} {self._fragment(fragment, path, aliases)}")
        return "{ " + " ".join(parts) + " }"

    def _fragment(
        self, fragment: Selected, path: tuple[str, ...], aliases: Mapping[tuple[str, str], str]
    ) -> str:
        parts: list[str] = []
        for key, (use, inner) in fragment.fields.items():
            alias = aliases.get((fragment.type, key), key)
            if alias != key:
                self._renames.append(Rename(path=path, alias=alias, response_key=key))
            parts.append(self._field(use, inner, path=path, alias=alias))
        return "{ " + " ".join(parts) + " }"

    def _field(
        self, use: FieldUse, inner: Selected | None, *, path: tuple[str, ...], alias: str
    ) -> str:
        self._variables |= use.variables
        head = use.name if alias == use.name else f"{alias}: {use.name}"
        arguments = f"({use.arguments})" if use.arguments else ""
        body = f" {self._selection(inner, (*path, use.response_key))}" if inner is not None else ""
        return f"{head}{arguments}{body}"

    def _aliases(self, selected: Selected) -> Mapping[tuple[str, str], str]:
        """Return aliases where object types give one response key unlike fields in this subgraph."""
        aliases: dict[tuple[str, str], str] = {}
        shapes: dict[str, str] = {}
        for name, fragment in selected.fragments.items():
            for key, (use, _) in fragment.fields.items():
                if use.name == "__typename":
                    continue
                declared = self._supergraph.field_type(name, use.name, self._graph)
                if shapes.setdefault(key, declared) != declared:
                    aliases[name, key] = f"{key}__{name}"
        return aliases
