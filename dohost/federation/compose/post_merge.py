"""What must hold of the merged schema: complete interfaces, a valid API, nothing visible that needs the hidden.

Satisfiability is checked per field: a field that no query can reach by any chain of keys is an error here,
and not at the first client that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphql import GraphQLError, build_schema, validate_schema

from dohost.federation.compose.api_schema import print_api_schema
from dohost.federation.compose.report import Report
from dohost.federation.compose.satisfiability import check_satisfiability
from dohost.federation.sdl.model import Kind, named_type
from dohost.federation.supergraph import SuperField, Supergraph, SuperType, is_inaccessible


def check_merged(supergraph: Supergraph, report: Report) -> None:
    """Check a merged supergraph; stops at the first phase that finds errors."""
    for code, message in _interfaces(supergraph.types):
        report.error(code, message)
    if not report.errors:
        for code, message in _inaccessible(supergraph.types):
            report.error(code, message)
    if report.errors:
        return
    try:
        for error in validate_schema(build_schema(print_api_schema(supergraph))):
            report.error("INVALID_GRAPHQL", error.message)
    except (GraphQLError, TypeError) as error:
        report.error("INVALID_GRAPHQL", str(error))
    if not report.errors:
        check_satisfiability(supergraph, report)
    if not report.errors:
        _check_runtime_types(supergraph, report)


def _check_runtime_types(supergraph: Supergraph, report: Report) -> None:
    """Compare what the resolvers of one shared field may return: they must have a type in common."""
    for type_ in supergraph.types.values():
        if type_.kind is not Kind.OBJECT:
            continue
        for field in type_.fields.values():
            possible = {
                supergraph.graphs[graph].name: names
                for graph, join in field.joins.items()
                if join.is_resolvable
                and (names := _runtime_types(supergraph, type_.name, field.name, graph=graph))
            }
            found = list(possible.values())
            if len(found) < 2 or all(names == found[0] for names in found):
                continue
            listed = ", ".join(f"{name}: {' | '.join(sorted(n))}" for name, n in possible.items())
            message = f"{type_.name}.{field.name} has unlike runtime types ({listed})"
            if frozenset.intersection(*found):
                report.warn("INCONSISTENT_RUNTIME_TYPES_FOR_SHAREABLE_RETURN", message)
            else:
                report.error("SHAREABLE_HAS_MISMATCHED_RUNTIME_TYPES", message)


def _runtime_types(
    supergraph: Supergraph, type_name: str, field: str, *, graph: str
) -> frozenset[str]:
    """Return the object types of a field in one subgraph; none where it isn't abstract there."""
    target = supergraph.types.get(named_type(supergraph.field_type(type_name, field, graph)))
    if target is None or not target.is_abstract:
        return frozenset()
    join = target.joins.get(graph)
    if join is None or join.is_interface_object:
        return frozenset()
    return frozenset(supergraph.possible_types(target.name, graph))


def _interfaces(types: Mapping[str, SuperType]) -> Iterator[tuple[str, str]]:
    for type_ in types.values():
        for name in type_.interfaces:
            for field in types[name].fields:
                if field not in type_.fields:
                    yield (
                        "INTERFACE_FIELD_NO_IMPLEM",
                        f"{name}.{field} is not implemented by {type_.name} in any subgraph",
                    )


def _inaccessible(types: Mapping[str, SuperType]) -> Iterator[tuple[str, str]]:
    hidden = {name for name, type_ in types.items() if is_inaccessible(type_.directives)}
    if "Query" in hidden:
        yield "QUERY_ROOT_TYPE_INACCESSIBLE", "Query is the root and can't be @inaccessible"
    for type_ in types.values():
        if type_.name in hidden:
            continue
        yield from _members(type_, hidden)
        for field in type_.fields.values():
            if not is_inaccessible(field.directives):
                yield from _field(type_, field, types=types, hidden=hidden)
        for name, value in type_.inputs.items():
            if is_inaccessible(value.definition.directives):
                if value.definition.is_required:
                    yield "REQUIRED_INACCESSIBLE", f"{type_.name}.{name} is required"
            elif named_type(value.definition.type) in hidden:
                yield "REFERENCED_INACCESSIBLE", f"{type_.name}.{name} has a hidden type"


def _members(type_: SuperType, hidden: set[str]) -> Iterator[tuple[str, str]]:
    listed = [
        *(is_inaccessible(field.directives) for field in type_.fields.values()),
        *(is_inaccessible(value.definition.directives) for value in type_.inputs.values()),
        *(is_inaccessible(value.definition.directives) for value in type_.values.values()),
        *(member in hidden for member in type_.members),
    ]
    if listed and all(listed):
        yield "ONLY_INACCESSIBLE_CHILDREN", f"nothing of {type_.name} is visible"


def _field(
    type_: SuperType, field: SuperField, *, types: Mapping[str, SuperType], hidden: set[str]
) -> Iterator[tuple[str, str]]:
    label = f"{type_.name}.{field.name}"
    if named_type(field.type) in hidden:
        yield "REFERENCED_INACCESSIBLE", f"{label} is visible and its type is not"
    for argument in field.arguments.values():
        if is_inaccessible(argument.directives):
            if argument.is_required:
                yield "REQUIRED_INACCESSIBLE", f"{label}({argument.name}) is required"
        elif named_type(argument.type) in hidden:
            yield "REFERENCED_INACCESSIBLE", f"{label}({argument.name}) has a hidden type"
    if type_.kind is not Kind.INTERFACE:
        return
    for other in types.values():
        implementation = other.fields.get(field.name)
        if type_.name not in other.interfaces or other.name in hidden or implementation is None:
            continue
        if is_inaccessible(implementation.directives):
            yield "IMPLEMENTED_BY_INACCESSIBLE", f"{label} is hidden in {other.name}"
        for name, argument in implementation.arguments.items():
            shown = field.arguments.get(name)
            if shown is None or is_inaccessible(shown.directives):
                continue
            if is_inaccessible(argument.directives):
                yield "IMPLEMENTED_BY_INACCESSIBLE", f"{label}({name}) is hidden in {other.name}"
