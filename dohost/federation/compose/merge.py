"""Subgraph schemas to one supergraph: types are gathered by name, then merged by kind.

Subgraphs are taken in the order of their names and elements in the order of first sight, so that the same
set of subgraphs always gives the same supergraph text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from dohost.federation.compose.interface_objects import (
    interface_errors,
    with_interface_object_fields,
)
from dohost.federation.compose.merge_fields import FieldMerger
from dohost.federation.compose.merge_inputs import merge_input_fields
from dohost.federation.compose.report import Report
from dohost.federation.sdl.model import (
    ROOT_TYPES,
    Applied,
    EnumValueDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)
from dohost.federation.supergraph import (
    Graph,
    Key,
    SuperField,
    Supergraph,
    SuperType,
    SuperValue,
    TypeJoin,
    is_inaccessible,
)

Declared = Mapping[str, TypeDef]
"""One type as each subgraph declares it, by graph id."""
_Element = TypeVar("_Element")


def merge(schemas: Sequence[SubgraphSchema], report: Report) -> Supergraph:
    """Merge validated schemas; the result means something only if `report` holds no errors."""
    ordered = sorted(schemas, key=lambda schema: schema.name)
    ids = graph_ids([schema.name for schema in ordered])
    by_id = dict(zip(ids, ordered, strict=True))
    graphs = {
        id_: Graph(id=id_, name=s.name, url=s.url, root_fields_apart=s.root_fields_apart)
        for id_, s in by_id.items()
    }
    _check_import_names(ordered, report)
    merger = _Merger(by_id, report)
    merged = {name: merger.type(name) for name in merger.names()}
    types = {name: type_ for name, type_ in merged.items() if type_ is not None}
    if "Query" not in types:
        report.error("NO_QUERIES", "no subgraph has a Query type with a field")
    for code, message in interface_errors(types, graphs):
        report.error(code, message)
    return Supergraph(graphs=graphs, types=with_interface_object_fields(types))


def _check_import_names(schemas: Sequence[SubgraphSchema], report: Report) -> None:
    """Report directives that reach the supergraph and are imported under unlike names."""
    for directive in ("tag", "inaccessible"):
        names = {
            schema.name: schema.imports[directive]
            for schema in schemas
            if directive in schema.imports and not schema.is_federation_1
        }
        if len(set(names.values())) > 1:
            listed = ", ".join(f"@{local} in {name}" for name, local in names.items())
            report.error(
                "LINK_IMPORT_NAME_MISMATCH",
                f"@{directive} is imported under several names: {listed}",
            )


def graph_ids(names: Sequence[str]) -> list[str]:
    """Return enum value names for subgraph names, distinct and valid in GraphQL."""
    taken: Counter[str] = Counter()
    ids: list[str] = []
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII)
        base = f"_{base}" if base[:1].isdigit() else base
        base = (f"{base}_" if re.search(r"_\d+$", base) else base).upper()
        taken[base] += 1
        ids.append(base if taken[base] == 1 else f"{base}_{taken[base]}")
    return ids


class _Merger:
    def __init__(self, schemas: Mapping[str, SubgraphSchema], report: Report) -> None:
        self._schemas = schemas
        self._report = report
        self._fields = FieldMerger(schemas, report)
        self._usage = _enum_usage(schemas)

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for s in self._schemas.values() for name in s.types))

    def type(self, name: str) -> SuperType | None:
        declared = {id_: s.types[name] for id_, s in self._schemas.items() if name in s.types}
        kinds = {type_.kind for type_ in declared.values() if not type_.has("interfaceObject")}
        if len(kinds) > 1:
            listed = ", ".join(f"{self._schemas[g].name}: {t.kind}" for g, t in declared.items())
            positions = (t.position for t in declared.values())
            self._report.error(
                "TYPE_KIND_MISMATCH", f"{name} differs in kind ({listed})", *positions
            )
            return None
        if not kinds:
            self._report.error(
                "INTERFACE_OBJECT_USAGE_ERROR", f"{name} is an @interfaceObject of no interface"
            )
            return None
        return self._merged(name, kinds.pop(), declared)

    def _merged(self, name: str, kind: Kind, declared: Declared) -> SuperType:
        fields: Mapping[str, SuperField] = {}
        if kind in (Kind.OBJECT, Kind.INTERFACE):
            fields = self._fields.merge(name, kind, declared)
        inputs = merge_input_fields(name, declared, self._report) if kind is Kind.INPUT else {}
        values = self._values(name, declared) if kind is Kind.ENUM else {}
        self._hint_unlike(name, kind, declared)
        return SuperType(
            name=name,
            kind=kind,
            joins={graph: _join(graph, type_) for graph, type_ in declared.items()},
            fields=fields,
            inputs=inputs,
            values=values,
            interfaces=_said_by({g: t.interfaces for g, t in declared.items()}),
            members=_said_by({g: t.members for g, t in declared.items()}),
            directives=merge_directives([t.directives for t in declared.values()]),
            description=self._description(name, [t.description for t in declared.values()]),
        )

    def _hint_unlike(self, name: str, kind: Kind, declared: Declared) -> None:
        """Tell of members that only some subgraphs give a union, an interface or a type without a key."""
        if kind is Kind.UNION:
            code, members = (
                "INCONSISTENT_UNION_MEMBER",
                {g: set(t.members) for g, t in declared.items()},
            )
        elif kind is Kind.INTERFACE:
            code = "INCONSISTENT_INTERFACE_VALUE_TYPE_FIELD"
            members = {g: set(t.fields) for g, t in declared.items()}
        elif kind is Kind.OBJECT and name not in ROOT_TYPES:
            code = "INCONSISTENT_OBJECT_VALUE_TYPE_FIELD"
            members = {g: set(t.fields) for g, t in declared.items()}
        else:
            return
        if any(type_.has("key") or type_.has("interfaceObject") for type_ in declared.values()):
            return
        for member in dict.fromkeys(m for each in members.values() for m in sorted(each)):
            lacking = [self._schemas[g].name for g, each in members.items() if member not in each]
            if lacking:
                self._report.debug(code, f"{name}.{member} is not in {', '.join(lacking)}")

    def _description(self, name: str, texts: Sequence[str | None]) -> str | None:
        counts = Counter(text for text in texts if text)
        if len(counts) > 1:
            self._report.warn("INCONSISTENT_DESCRIPTION", f"{name} has several descriptions")
        return counts.most_common(1)[0][0] if counts else None

    def _values(self, name: str, declared: Declared) -> Mapping[str, SuperValue]:
        said = _said_by({g: tuple(t.values) for g, t in declared.items()})
        is_input, is_output = name in self._usage[0], name in self._usage[1]
        if not (is_input or is_output):
            self._report.debug("UNUSED_ENUM_TYPE", f"{name} is used nowhere")
        values: dict[str, SuperValue] = {}
        for value, graphs in said.items():
            definitions = [declared[g].values[value] for g in graphs]
            merged = EnumValueDef(
                name=value,
                directives=merge_directives([d.directives for d in definitions]),
                description=next((d.description for d in definitions if d.description), None),
            )
            everywhere = len(graphs) == len(declared)
            if is_input and not everywhere and not is_inaccessible(merged.directives):
                if is_output:
                    self._report.error(
                        "ENUM_VALUE_MISMATCH",
                        f"{name} is used in input and output, but {value} is only in "
                        + ", ".join(self._schemas[g].name for g in graphs),
                    )
                else:
                    self._report.warn(
                        "INCONSISTENT_ENUM_VALUE_FOR_INPUT_ENUM", f"{name}.{value} is dropped"
                    )
                    continue
            elif not is_input and not everywhere:
                self._report.debug(
                    "INCONSISTENT_ENUM_VALUE_FOR_OUTPUT_ENUM", f"{name}.{value} is only in some"
                )
            values[value] = SuperValue(definition=merged, graphs=graphs)
        if not values:
            self._report.error("EMPTY_MERGED_ENUM_TYPE", f"{name} has no value in all subgraphs")
        return values


def _join(graph: str, type_: TypeDef) -> TypeJoin:
    keys = tuple(
        Key(fields=key.text("fields"), is_resolvable=key.arguments.get("resolvable") is not False)
        for key in type_.all("key")
    )
    return TypeJoin(graph=graph, keys=keys, is_interface_object=type_.has("interfaceObject"))


def _said_by(names: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    said: dict[str, tuple[str, ...]] = {}
    for graph, listed in names.items():
        for name in listed:
            said[name] = (*said.get(name, ()), graph)
    return said


def merge_directives(applications: Sequence[tuple[Applied, ...]]) -> tuple[Applied, ...]:
    """Return the directives that reach the supergraph: every distinct tag, others once."""
    merged: dict[object, Applied] = {}
    for applied in (a for listed in applications for a in listed):
        if applied.name == "tag":
            merged.setdefault(("tag", applied.text("name")), applied)
        elif applied.name in ("inaccessible", "deprecated", "specifiedBy", "oneOf"):
            merged.setdefault(applied.name, applied)
    return tuple(merged.values())


def _enum_usage(schemas: Mapping[str, SubgraphSchema]) -> tuple[set[str], set[str]]:
    taken: set[str] = set()
    given: set[str] = set()
    for schema in schemas.values():
        for type_ in schema.types.values():
            taken |= {named_type(field.type) for field in type_.inputs.values()}
            for field in type_.fields.values():
                given.add(named_type(field.type))
                taken |= {named_type(argument.type) for argument in field.arguments.values()}
    return taken, given
