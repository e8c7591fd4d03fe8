"""Satisfiability: whatever the API schema allows to be asked can be fetched.

This is the planner's walk with "exists" in place of "best". A state is a type with the set of nodes where
a query can stand on it; a state is visited once, and not at all if a poorer one of the same type has been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from dohost.federation.compose.report import Report
from dohost.federation.plan.graph import Node, PlanGraph
from dohost.federation.plan.normalize import Position
from dohost.federation.plan.walk import FieldUse, Path, Walker
from dohost.federation.sdl.model import ROOT_TYPES, Kind, named_type
from dohost.federation.supergraph import SuperField, Supergraph, is_inaccessible

_STATES_MAX = 20_000
_Step = tuple[str, list[Path], tuple[str, ...]]


def check_satisfiability(supergraph: Supergraph, report: Report) -> None:
    """Report every field that some reachable place can't answer, each once, with a witness."""
    _Search(supergraph, report).run()


class _Search:
    def __init__(self, supergraph: Supergraph, report: Report) -> None:
        self._supergraph = supergraph
        self._report = report
        self._graph = PlanGraph(supergraph)
        self._walker = Walker(self._graph)
        self._seen: dict[str, list[frozenset[Node]]] = {}
        self._failed: set[tuple[str, str]] = set()

    def run(self) -> None:
        states: deque[_Step] = deque()
        for root in ROOT_TYPES:
            if root in self._supergraph.types:
                starts = [self._walker.root(n, Position()) for n in self._graph.roots(root)]
                states.append((root, starts, (root.lower(),)))
        visited = 0
        while states:
            type_name, paths, trail = states.popleft()
            if not self._is_new(type_name, paths):
                continue
            visited += 1
            if visited > _STATES_MAX:
                self._report.error(
                    "MAX_VALIDATION_SUBGRAPH_PATHS_EXCEEDED", f"more than {_STATES_MAX} states"
                )
                return
            states.extend(self._next(type_name, paths, trail))

    def _is_new(self, type_name: str, paths: Sequence[Path]) -> bool:
        nodes = frozenset(path.node for path in paths)
        seen = self._seen.setdefault(type_name, [])
        if any(known <= nodes for known in seen):
            return False
        seen.append(nodes)
        return True

    def _next(
        self, type_name: str, paths: Sequence[Path], trail: tuple[str, ...]
    ) -> Iterator[_Step]:
        type_ = self._supergraph.types[type_name]
        if type_.is_abstract:
            for possible in self._supergraph.possible_types(type_name):
                casts = self._walker.casts(paths, possible)
                if len(casts) == len(paths):
                    yield possible, casts, (*trail, f"... on {possible}")
            return
        for field in type_.fields.values():
            if not is_inaccessible(field.directives):
                yield from self._field(type_name, field, paths, trail)

    def _field(
        self, type_name: str, field: SuperField, paths: Sequence[Path], trail: tuple[str, ...]
    ) -> Iterator[_Step]:
        target = self._supergraph.types.get(named_type(field.type))
        is_leaf = target is None or target.kind in (Kind.SCALAR, Kind.ENUM)
        use = FieldUse(response_key=field.name, name=field.name, is_leaf=is_leaf)
        found = self._walker.advance(paths, use)
        if found and target is not None and not is_leaf:
            yield target.name, found, (*trail, field.name)
        elif not found and (type_name, field.name) not in self._failed:
            self._failed.add((type_name, field.name))
            witness = " { ".join((*trail, field.name)) + " }" * len(trail)
            graphs = sorted({self._supergraph.graphs[path.node.graph].name for path in paths})
            self._report.error(
                "SATISFIABILITY_ERROR",
                f"{type_name}.{field.name} can't be fetched by: {witness} "
                f"(standing in {', '.join(graphs)}, with no usable key to who resolves it)",
            )
