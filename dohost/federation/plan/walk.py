"""The walk: for every leaf of the operation, all sensible ways to reach it.

A `Path` is an immutable linked list of segments from the root. Paths are interned (same parent, same
segment: same object), so a set of paths *is* a tree and its cost is the sum over distinct segments. Each
jump holds the paths that gather its key and its `@requires`. Alternatives are kept at every level, because
a path that leaves before a shared field can reach what a path that leaves after it can't.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dohost.federation.plan.graph import EntityMove, Node, PlanGraph
from dohost.federation.plan.normalize import NormalField, NormalSelection, Position
from dohost.federation.sdl.field_set import FieldSet, SetField

FETCH_COST = 1000
_CANDIDATES_MAX = 12
_NESTING_MAX = 40


class FieldUse(msgspec.Struct, frozen=True, kw_only=True):
    """A field as it is selected: the segment of a path that goes down."""

    response_key: str
    name: str
    arguments: str = ""
    variables: frozenset[str] = frozenset()
    is_leaf: bool = True


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that narrows an abstract type to an object type."""

    type: str


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """The first segment; `apart` keeps root fields in fetches of their own."""

    graph: str
    apart: str = ""


Segment = FieldUse | Cast | EntityMove | Root


class Path:
    """A way from the root to a node; compare by identity."""

    __slots__ = ("cost", "node", "parent", "position", "requirements", "segment")

    def __init__(
        self,
        parent: Path | None,
        segment: Segment,
        *,
        node: Node,
        position: Position,
        requirements: tuple[Path, ...] = (),
    ) -> None:
        self.parent = parent
        self.segment = segment
        self.node = node
        self.position = position
        self.requirements = requirements
        self.cost: int
        base: int = parent.cost if parent is not None else 0
        self.cost = base + weight(segment) + sum(max(0, r.cost - base) for r in requirements)

    def same_position(self) -> Iterable[Path]:
        """Yield this path and those before it that stand on the same object."""
        path: Path | None = self
        while path is not None:
            yield path
            if not isinstance(path.segment, EntityMove):
                return
            path = path.parent


def weight(segment: Segment) -> int:
    """Return what a segment costs by itself."""
    if isinstance(segment, EntityMove | Root):
        return FETCH_COST
    return 0 if isinstance(segment, Cast) else 1


class Unresolvable(Exception):
    """A field that no path reaches: composition's satisfiability check was not done or is wrong."""

    def __init__(self, type_name: str, field: str) -> None:
        super().__init__(f"no subgraph can answer {type_name}.{field} here")


class Walker:
    """Finds candidate paths for one operation."""

    def __init__(self, graph: PlanGraph) -> None:
        self._graph = graph
        self._interned: dict[object, Path] = {}
        self._moved: dict[tuple[Path, EntityMove, bool], Path | None] = {}
        self._active: set[tuple[Node, EntityMove]] = set()
        self._cut_short = False
        self._is_flat = False

    def root(self, node: Node, position: Position, *, apart: str = "") -> Path:
        """Return the path that stands on a root type."""
        segment = Root(graph=node.graph, apart=apart)
        path = self._interned.get((node, segment))
        if path is None:
            path = self._interned[node, segment] = Path(None, segment, node=node, position=position)
        return path

    def leaves(self, selection: NormalSelection, starts: Sequence[Path]) -> list[list[Path]]:
        """Return the candidates of every leaf. Raises: Unresolvable if a leaf has none."""
        found: list[list[Path]] = []
        if selection.on not in selection.by_type:
            starts = self._with_real_types(selection.on, starts)
        for type_name in self._types(selection, starts):
            paths = self.casts(starts, type_name)
            for field in selection.by_type[type_name]:
                found.extend(self._field(field, paths, type_name))
        return found or [self._typename(starts)]

    def _with_real_types(self, on: str, starts: Sequence[Path]) -> Sequence[Path]:
        """Leave subgraphs that know an interface as an object only: they can't tell what its values are."""
        real: list[Path] = []
        for path in starts:
            if not self._is_interface_object(path.node):
                real.append(path)
                continue
            for move in self._graph.moves(path.node.type):
                entered = self._move(path, move, is_deep=True)
                if entered is not None and not self._is_interface_object(entered.node):
                    real.append(entered)
        if not real:
            raise Unresolvable(on, "__typename")
        return _best(real)

    def _types(self, selection: NormalSelection, starts: Sequence[Path]) -> list[str]:
        """Return the object types to ask for: where subgraphs disagree, those that all know."""
        if selection.on in selection.by_type:
            return [selection.on]
        return [
            name
            for name in selection.by_type
            if all(self._graph.cast(path.node, name) is not None for path in starts)
        ]

    def _field(self, field: NormalField, paths: Sequence[Path], type_name: str) -> list[list[Path]]:
        use = FieldUse(
            response_key=field.response_key,
            name=field.name,
            arguments=field.arguments,
            variables=field.variables,
            is_leaf=field.selection is None,
        )
        candidates = self.advance(paths, use)
        if not candidates:
            raise Unresolvable(type_name, field.name)
        if field.selection is None:
            return [candidates]
        return self.leaves(field.selection, candidates)

    def _typename(self, paths: Sequence[Path]) -> list[Path]:
        use = FieldUse(response_key="__typename", name="__typename")
        return self.advance(paths, use)

    def casts(self, paths: Sequence[Path], type_name: str) -> list[Path]:
        """Return the paths narrowed to an object type, those left out that can't hold it."""
        return [cast for path in paths if (cast := self._cast(path, type_name)) is not None]

    def _cast(self, path: Path, type_name: str) -> Path | None:
        if path.node.type == type_name:
            return path
        node = self._graph.cast(path.node, type_name)
        if node is None:
            return None
        return self._extend(path, Cast(type=type_name), node=node, position=path.position)

    def advance(self, paths: Sequence[Path], use: FieldUse) -> list[Path]:
        """Return the best paths that take one field from any of `paths`."""
        found: list[Path] = []
        for path in paths:
            direct = self._direct(path, use)
            if direct is not None:
                found.append(direct)
            if not self._is_flat and (direct is None or not use.is_leaf):
                found.extend(self._indirect(path, use))
        return _best(found)

    def _direct(self, path: Path, use: FieldUse) -> Path | None:
        if use.name == "__typename":
            if self._is_interface_object(path.node):
                return None
            node = self._graph.node(path.node.graph, "String")
        else:
            followed = self._graph.follow(path.node, use.name)
            if followed is None:
                return None
            node = followed
        position = path.position if use.is_leaf else path.position.child(use.response_key)
        return self._extend(path, use, node=node, position=position)

    def _is_interface_object(self, node: Node) -> bool:
        join = self._graph.supergraph.types[node.type].joins.get(node.graph)
        return join is not None and join.is_interface_object

    def _indirect(self, start: Path, use: FieldUse) -> list[Path]:
        """Return paths that jump first. Each subgraph is entered once, by the fewest jumps.

        Jumps whose key is at hand come first; those whose key needs fetches of its own only follow
        where that did not lead everywhere.
        """
        found: list[Path] = []
        visited = {path.node.graph for path in start.same_position()}
        reached = [start]
        for is_deep in (False, True):
            frontier = list(reached)
            while frontier:
                arrived: list[Path] = []
                for path in frontier:
                    found.extend(self._entered_for(path, use))
                    for move in self._graph.moves(path.node.type):
                        if move.target.graph not in visited:
                            entered = self._move(path, move, is_deep=is_deep)
                            if entered is not None:
                                arrived.append(entered)
                for path in arrived:
                    direct = self._direct(path, use)
                    if direct is not None:
                        found.append(direct)
                if found and use.is_leaf:
                    return found
                visited |= {path.node.graph for path in arrived}
                reached += arrived
                frontier = arrived
        return found

    def _entered_for(self, path: Path, use: FieldUse) -> Iterable[Path]:
        """Yield the ways to a field with `@requires`: a jump that carries what it requires."""
        for move in self._graph.moves_for(path.node.type, use.name):
            entered = self._move(path, move, is_deep=True)
            direct = None if entered is None else self._direct(entered, use)
            if direct is not None:
                yield direct

    def _move(self, path: Path, move: EntityMove, *, is_deep: bool) -> Path | None:
        if not move.representation_type and isinstance(path.segment, Root):
            return None  # every subgraph's roots are a start already
        known = (path, move, is_deep)
        if known in self._moved:
            return self._moved[known]
        guard = (path.node, move)
        if guard in self._active or len(self._active) >= _NESTING_MAX:
            self._cut_short = True
            return None
        self._active.add(guard)
        outer, self._cut_short = self._cut_short, False
        requirements = self._gather(path, (*move.key, *move.requires), is_deep=is_deep)
        self._active.discard(guard)
        moved = None
        if requirements is not None:
            moved = self._extend(
                path, move, node=move.target, position=path.position, requirements=requirements
            )
        # A failure inside a cycle says nothing about the same jump outside of it.
        if moved is not None or not is_deep or not self._cut_short:
            self._moved[known] = moved
        self._cut_short = outer or (self._cut_short and bool(self._active))
        return moved

    def _gather(self, path: Path, wanted: FieldSet, *, is_deep: bool) -> tuple[Path, ...] | None:
        """Return the cheapest paths that together gather a field set, or None.

        What stands on the object already is taken from there; only with `is_deep` are other subgraphs
        asked for the rest.
        """
        starts = list(path.same_position())
        chosen: list[Path] = []
        for node in wanted:
            candidates = self._flat_leaves((node,), starts)
            if candidates is None and is_deep:
                candidates = self._set_leaves((node,), starts)
            if candidates is None:
                return None
            chosen += [min(options, key=lambda p: p.cost) for options in candidates]
        return tuple(dict.fromkeys(chosen))

    def _flat_leaves(self, wanted: FieldSet, starts: Sequence[Path]) -> list[list[Path]] | None:
        was_flat, self._is_flat = self._is_flat, True
        try:
            return self._set_leaves(wanted, starts)
        finally:
            self._is_flat = was_flat

    def _set_leaves(self, wanted: FieldSet, starts: Sequence[Path]) -> list[list[Path]] | None:
        found: list[list[Path]] = []
        for node in wanted:
            if isinstance(node, SetField):
                leaves = self._set_field(node, starts)
            else:
                leaves = self._set_fragment(node.on, node.selection, starts)
            if leaves is None:
                return None
            found.extend(leaves)
        return found

    def _set_field(self, node: SetField, starts: Sequence[Path]) -> list[list[Path]] | None:
        position = starts[0].position
        use = FieldUse(
            response_key=position.key_for(node.name, node.arguments),
            name=node.name,
            arguments=node.arguments,
            is_leaf=not node.selection,
        )
        candidates = self.advance(starts, use)
        if not candidates:
            return self._set_expanded(node, starts)
        if not node.selection:
            return [candidates]
        return self._set_leaves(node.selection, candidates)

    def _set_expanded(self, node: SetField, starts: Sequence[Path]) -> list[list[Path]] | None:
        """Take a field of an interface on each of its objects, where the interface itself lacks it."""
        type_name = starts[0].node.type
        if not self._graph.supergraph.types[type_name].is_abstract:
            return None
        found: list[list[Path]] = []
        for possible in self._graph.supergraph.possible_types(type_name):
            casts = self.casts(starts, possible)
            if casts:
                leaves = self._set_field(node, casts)
                if leaves is None:
                    return None
                found.extend(leaves)
        return found or None

    def _set_fragment(
        self, on: str, selection: FieldSet, starts: Sequence[Path]
    ) -> list[list[Path]] | None:
        found: list[list[Path]] = []
        for possible in self._graph.supergraph.possible_types(on):
            casts = self.casts(starts, possible)
            if casts:
                leaves = self._set_leaves(selection, casts)
                if leaves is None:
                    return None
                found.extend(leaves)
        return found

    def _extend(
        self,
        parent: Path,
        segment: Segment,
        *,
        node: Node,
        position: Position,
        requirements: tuple[Path, ...] = (),
    ) -> Path:
        at = (parent, segment)
        path = self._interned.get(at)
        if path is None:
            path = self._interned[at] = Path(
                parent, segment, node=node, position=position, requirements=requirements
            )
        return path


def _best(found: list[Path]) -> list[Path]:
    """Keep the cheapest path to every node, and a few more where a different way may combine better."""
    ordered = sorted(dict.fromkeys(found), key=lambda path: path.cost)
    first: dict[Node, Path] = {}
    others: dict[tuple[Node, Node | None], Path] = {}
    for path in ordered:
        if first.setdefault(path.node, path) is not path:
            others.setdefault((path.node, path.parent.node if path.parent else None), path)
    kept = [*first.values(), *list(others.values())[: max(0, _CANDIDATES_MAX - len(first))]]
    return sorted(kept, key=lambda path: path.cost)
