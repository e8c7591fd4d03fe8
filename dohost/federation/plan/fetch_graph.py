"""Chosen paths become fetches: every jump opens one, every field lands in the fetch it hangs below.

A fetch is (subgraph, place in the response, inputs, selection) and the fetches that must end before it.
Then the passes: drop what selects nothing, join fetches that ask one subgraph for the same objects at the
same depth, and line them up in waves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dohost.federation.plan.graph import EntityMove
from dohost.federation.plan.normalize import Position
from dohost.federation.plan.plan import InputField, PathStep
from dohost.federation.plan.walk import Cast, FieldUse, Path, Root
from dohost.federation.sdl.field_set import FieldSet, SetField
from dohost.federation.supergraph import Supergraph


class Selected:
    """A selection under construction: fields by response key, and one selection per narrowed type."""

    __slots__ = ("fields", "fragments", "type")

    def __init__(self, type_name: str) -> None:
        self.type = type_name
        self.fields: dict[str, tuple[FieldUse, Selected | None]] = {}
        self.fragments: dict[str, Selected] = {}

    def add(self, use: FieldUse, type_name: str) -> Selected:
        """Add a field and return its selection (the unused one of a leaf is not kept)."""
        known = self.fields.get(use.response_key)
        if known is not None and known[1] is not None:
            return known[1]
        inner = Selected(type_name)
        self.fields[use.response_key] = (use, None if use.is_leaf else inner)
        return inner

    def fragment(self, type_name: str) -> Selected:
        """Return the selection for one object type."""
        if type_name not in self.fragments:
            self.fragments[type_name] = Selected(type_name)
        return self.fragments[type_name]

    def is_empty(self) -> bool:
        """Tell whether nothing is selected."""
        return not self.fields and all(inner.is_empty() for inner in self.fragments.values())

    def merge(self, other: Selected) -> None:
        """Add everything of `other`; response keys mean the same in both."""
        for use, inner in other.fields.values():
            mine = self.add(use, inner.type if inner else "")
            if inner is not None:
                mine.merge(inner)
        for type_name, inner in other.fragments.items():
            self.fragment(type_name).merge(inner)


class FetchNode:
    """A fetch under construction. `inputs` is None for a fetch of root fields, which can be at any `path`."""

    __slots__ = (
        "graph",
        "inputs",
        "key_names",
        "parents",
        "path",
        "representation_type",
        "selection",
    )

    def __init__(self, graph: str, *, path: tuple[PathStep, ...], selection: Selected) -> None:
        self.graph = graph
        self.path = path
        self.selection = selection
        self.parents: set[FetchNode] = set()
        self.inputs: list[InputField] | None = None
        self.key_names: set[str] = set()
        self.representation_type = ""


class _Cursor:
    __slots__ = ("fetch", "path", "selection")

    def __init__(self, fetch: FetchNode, selection: Selected, path: tuple[PathStep, ...]) -> None:
        self.fetch = fetch
        self.selection = selection
        self.path = path


class FetchGraph:
    """Builds the fetches of a set of chosen paths."""

    def __init__(self, supergraph: Supergraph) -> None:
        self._supergraph = supergraph
        self._cursors: dict[Path, _Cursor] = {}
        self.fetches: list[FetchNode] = []

    def insert(self, paths: Iterable[Path]) -> None:
        """Add chosen paths with all that they require."""
        for path in paths:
            self._cursor(path)

    def _cursor(self, path: Path) -> _Cursor:
        cursor = self._cursors.get(path)
        if cursor is None:
            cursor = self._cursors[path] = self._make(path)
        return cursor

    def _make(self, path: Path) -> _Cursor:
        segment = path.segment
        if isinstance(segment, Root):
            fetch = FetchNode(segment.graph, path=(), selection=Selected(path.node.type))
            self.fetches.append(fetch)
            return _Cursor(fetch, fetch.selection, ())
        assert path.parent is not None
        parent = self._cursor(path.parent)
        if isinstance(segment, EntityMove):
            return self._jump(path, segment, parent)
        if isinstance(segment, Cast):
            step = PathStep(on=segment.type)
            return _Cursor(
                parent.fetch, parent.selection.fragment(segment.type), (*parent.path, step)
            )
        inner = parent.selection.add(segment, path.node.type)
        return _Cursor(parent.fetch, inner, (*parent.path, PathStep(key=segment.response_key)))

    def _jump(self, path: Path, move: EntityMove, parent: _Cursor) -> _Cursor:
        fetch = FetchNode(move.target.graph, path=parent.path, selection=Selected(move.target.type))
        fetch.representation_type = move.representation_type
        fetch.key_names = {node.name for node in move.key if isinstance(node, SetField)}
        if move.representation_type:
            fetch.inputs = inputs_of((*move.key, *move.requires), path.position)
        fetch.parents = {parent.fetch, *(self._cursor(r).fetch for r in path.requirements)}
        self.fetches.append(fetch)
        return _Cursor(fetch, fetch.selection, parent.path)

    def waves(self) -> list[list[FetchNode]]:
        """Return the fetches by depth, after all passes."""
        self._drop_empty()
        while self._join_alike():
            pass
        levels = self._levels()
        waves: dict[int, list[FetchNode]] = {}
        for fetch in self.fetches:
            waves.setdefault(levels[fetch], []).append(fetch)
        return [waves[level] for level in sorted(waves)]

    def _drop_empty(self) -> None:
        """A jump may only be passed through; what hangs below it hangs below its parents then."""
        for fetch in [f for f in self.fetches if f.selection.is_empty()]:
            for child in self.fetches:
                if fetch in child.parents:
                    child.parents.discard(fetch)
                    child.parents |= fetch.parents
            self.fetches.remove(fetch)

    def _levels(self) -> dict[FetchNode, int]:
        levels: dict[FetchNode, int] = {}

        def level(fetch: FetchNode) -> int:
            if fetch not in levels:
                levels[fetch] = 1 + max((level(p) for p in fetch.parents), default=-1)
            return levels[fetch]

        for fetch in self.fetches:
            level(fetch)
        return levels

    def _join_alike(self) -> bool:
        levels = self._levels()
        seen: dict[object, list[FetchNode]] = {}
        for fetch in self.fetches:
            if fetch.inputs is None:
                continue
            at = (fetch.graph, fetch.path, fetch.representation_type, levels[fetch])
            for other in seen.setdefault(at, []):
                if other.inputs is not None and _agree(other.inputs, fetch.inputs):
                    self._join(other, fetch)
                    return True
            seen[at].append(fetch)
        return False

    def _join(self, kept: FetchNode, joined: FetchNode) -> None:
        assert kept.inputs is not None
        assert joined.inputs is not None
        kept.inputs += joined.inputs
        kept.key_names |= joined.key_names
        kept.parents |= joined.parents
        kept.selection.merge(joined.selection)
        self.fetches.remove(joined)
        for child in self.fetches:
            if joined in child.parents:
                child.parents.discard(joined)
                child.parents.add(kept)


def _agree(left: Sequence[InputField], right: Sequence[InputField]) -> bool:
    """Tell whether one representation can hold both: no member is read from two response keys."""
    return all(
        one.response_key == other.response_key and _agree(one.inputs, other.inputs)
        for one in left
        for other in right
        if one.name == other.name
    )


def inputs_of(wanted: FieldSet, position: Position) -> list[InputField]:
    """Return how a representation reads a field set from the objects at `position`."""
    inputs: list[InputField] = []
    for node in wanted:
        if isinstance(node, SetField):
            key = position.key_for(node.name, node.arguments)
            inner = inputs_of(node.selection, position.child(key)) if node.selection else ()
            inputs.append(InputField(name=node.name, response_key=key, inputs=tuple(inner)))
        else:
            inputs.extend(
                InputField(name=i.name, response_key=i.response_key, inputs=i.inputs, on=node.on)
                for i in inputs_of(node.selection, position)
            )
    return inputs
