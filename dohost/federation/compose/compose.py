"""Composition, phase by phase; a phase with errors is the last one, so that messages stay about causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from dohost.federation.compose.merge import merge
from dohost.federation.compose.post_merge import check_merged
from dohost.federation.compose.report import Report
from dohost.federation.contract import CompositionError, CompositionHint, Subgraph
from dohost.federation.sdl.lenient import complete
from dohost.federation.sdl.model import SubgraphSchema
from dohost.federation.sdl.parse import parse_subgraph
from dohost.federation.sdl.upgrade import upgrade
from dohost.federation.sdl.validate import validate_subgraph
from dohost.federation.supergraph import Supergraph


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """A supergraph, and what was worth a hint while making it."""

    supergraph: Supergraph
    hints: tuple[CompositionHint, ...]


def compose(subgraphs: Sequence[Subgraph]) -> Composed | list[CompositionError]:
    """Compose subgraphs, or tell why they don't compose."""
    schemas = _read(subgraphs)
    if isinstance(schemas, tuple):
        return list(schemas)
    lenient = frozenset(subgraph.name for subgraph in subgraphs if subgraph.lenient)
    upgraded = upgrade(complete(schemas, lenient=lenient))
    found = [item for item in upgraded if isinstance(item, CompositionError)]
    if found:
        return found
    valid = [item for item in upgraded if isinstance(item, SubgraphSchema)]
    errors = [error for schema in valid for error in validate_subgraph(schema)]
    if errors:
        return errors
    report = Report()
    supergraph = merge(valid, report)
    if not report.errors:
        check_merged(supergraph, report)
    return report.errors or Composed(supergraph=supergraph, hints=tuple(report.hints))


def _read(subgraphs: Sequence[Subgraph]) -> list[SubgraphSchema] | tuple[CompositionError, ...]:
    errors: list[CompositionError] = []
    schemas: list[SubgraphSchema] = []
    for name, count in Counter(subgraph.name for subgraph in subgraphs).items():
        if count > 1:
            errors.append(
                CompositionError(
                    code="INVALID_SUBGRAPH_NAME", message=f"{count} subgraphs are named {name!r}"
                )
            )
    for subgraph in subgraphs:
        read = parse_subgraph(subgraph)
        if isinstance(read, SubgraphSchema):
            schemas.append(read)
        else:
            errors += read
    return tuple(errors) if errors else schemas
