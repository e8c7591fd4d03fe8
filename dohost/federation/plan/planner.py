"""The planner's one entry: a normalized operation in, a plan out.

Queries are planned whole. Mutations are planned run by run: neighbouring root fields of one subgraph share
a fetch, and everything below a run ends before the next begins, as GraphQL demands of mutations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dohost.federation.plan.combine import combine
from dohost.federation.plan.fetch_graph import FetchGraph
from dohost.federation.plan.graph import Node, PlanGraph
from dohost.federation.plan.normalize import NormalField, NormalSelection
from dohost.federation.plan.passes import Finisher
from dohost.federation.plan.plan import Fetch, Plan
from dohost.federation.plan.walk import Path, Unresolvable, Walker


class Planner:
    """Plans operations against one supergraph."""

    def __init__(self, graph: PlanGraph) -> None:
        self._graph = graph

    def plan(self, selection: NormalSelection, variable_types: Mapping[str, str]) -> Plan:
        """Plan an operation. Raises: Unresolvable."""
        finisher = Finisher(self._graph.supergraph, variable_types, kind=selection.on.lower())
        fields = [
            field
            for field in selection.by_type.get(selection.on, ())
            if not field.name.startswith("__")
        ]
        if not fields:
            return Plan(waves=())
        nodes = self._graph.roots(selection.on)
        if selection.on == "Query":
            return Plan(waves=self._stage(selection, fields, nodes=nodes, finisher=finisher))
        waves: list[tuple[Fetch, ...]] = []
        for node, run in self._runs(fields, nodes):
            waves += self._stage(selection, run, nodes=[node], finisher=finisher)
        return Plan(waves=tuple(waves))

    def _stage(
        self,
        selection: NormalSelection,
        fields: Sequence[NormalField],
        *,
        nodes: Sequence[Node],
        finisher: Finisher,
    ) -> tuple[tuple[Fetch, ...], ...]:
        walker = Walker(self._graph)
        leaves: list[list[Path]] = []
        for field in fields:
            starts = [
                walker.root(node, selection.position, apart=self._apart(node, field))
                for node in nodes
            ]
            one = msgspec.structs.replace(selection, by_type={selection.on: (field,)})
            leaves += walker.leaves(one, starts)
        fetches = FetchGraph(self._graph.supergraph)
        fetches.insert(combine(leaves))
        return tuple(finisher.wave(wave) for wave in fetches.waves())

    def _apart(self, node: Node, field: NormalField) -> str:
        graph = self._graph.supergraph.graphs[node.graph]
        return field.response_key if graph.root_fields_apart else ""

    def _runs(
        self, fields: Sequence[NormalField], nodes: Sequence[Node]
    ) -> list[tuple[Node, list[NormalField]]]:
        """Group neighbouring root fields by the one subgraph that runs them."""
        runs: list[tuple[Node, list[NormalField]]] = []
        for field in fields:
            able = [node for node in nodes if self._graph.follow(node, field.name) is not None]
            if not able:
                raise Unresolvable(nodes[0].type, field.name)
            if runs and runs[-1][0] in able and not self._apart(runs[-1][0], field):
                runs[-1][1].append(field)
            else:
                runs.append((able[0], [field]))
        return runs
