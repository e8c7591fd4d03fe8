"""Merging the fields of one object type or interface: who resolves what, and of which type it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dohost.federation.compose.merge_inputs import ARGUMENTS, merge_inputs
from dohost.federation.compose.report import Report
from dohost.federation.compose.type_merge import merge_input, merge_output
from dohost.federation.sdl.field_uses import key_fields, provided_fields, used_fields
from dohost.federation.sdl.model import (
    Applied,
    FieldDef,
    InputDef,
    Kind,
    SubgraphSchema,
    TypeDef,
)
from dohost.federation.supergraph import FieldJoin, SuperField

Declared = Mapping[str, TypeDef]


class FieldMerger:
    """Merges fields; holds the subgraphs, because sharing and overriding look across them."""

    def __init__(self, schemas: Mapping[str, SubgraphSchema], report: Report) -> None:
        self._schemas = schemas
        self._report = report
        self._used = {graph: used_fields(schema.types) for graph, schema in schemas.items()}
        self._provided = {g: provided_fields(schema.types) for g, schema in schemas.items()}
        self._subtypes = _subtypes(schemas)

    def merge(self, type_name: str, kind: Kind, declared: Declared) -> Mapping[str, SuperField]:
        """Merge all fields of one type."""
        names = dict.fromkeys(name for type_ in declared.values() for name in type_.fields)
        merged: dict[str, SuperField] = {}
        for name in names:
            fields = {g: t.fields[name] for g, t in declared.items() if name in t.fields}
            merged[name] = self._field(type_name, fields, kind=kind, declared=declared)
        return merged

    def _field(
        self, type_name: str, fields: Mapping[str, FieldDef], *, kind: Kind, declared: Declared
    ) -> SuperField:
        label = f"{type_name}.{next(iter(fields.values())).name}"
        overridden = self._overridden(label, fields)
        own = {
            g: f
            for g, f in fields.items()
            if not _is_external(f, declared[g]) and g not in overridden
        }
        if not own:
            positions = (field.position for field in fields.values())
            self._report.error(
                "EXTERNAL_MISSING_ON_BASE",
                f"{label} is @external wherever it is declared",
                *positions,
            )
            own = dict(fields)
        resolved = {
            g: f
            for g, f in fields.items()
            if g in own or (g not in overridden and (type_name, f.name) in self._provided[g])
        }
        if kind is Kind.INTERFACE:
            resolved = {g: f for g, f in own.items() if declared[g].has("interfaceObject")}
        self._check_sharing(label, resolved, declared=declared)
        type_text = self._type(label, fields, own, overridden=overridden.keys())
        arguments = merge_inputs(
            label, {g: f.arguments for g, f in own.items()}, report=self._report, codes=ARGUMENTS
        )
        for graph in fields.keys() - own.keys() - overridden.keys():
            self._check_external_arguments(label, fields[graph], arguments)
        joins = {
            graph: self._join(graph, type_name, field, declared=declared, merged_type=type_text)
            for graph, field in fields.items()
            if graph not in overridden
            or overridden[graph] is not None
            or self._is_used(graph, type_name, field.name)
        }
        if overridden:
            joins = {
                g: _as_overridden(j) if g in overridden and overridden[g] is None else j
                for g, j in joins.items()
            }
        first = next(iter(own.values()))
        return SuperField(
            name=first.name,
            type=type_text,
            arguments=arguments,
            joins=joins,
            directives=_merged_directives(own),
            description=next((f.description for f in own.values() if f.description), None),
        )

    def _check_external_arguments(
        self, label: str, field: FieldDef, merged: Mapping[str, InputDef]
    ) -> None:
        """Report where an @external declaration takes other arguments than whoever resolves the field."""
        for name, argument in merged.items():
            declared = field.arguments.get(name)
            if declared is None:
                code, message = "MISSING", f"{label} is @external without the argument {name}"
            elif merge_input(declared.type, argument.type) is None:
                code, message = "TYPE_MISMATCH", f"{label}({name}) is @external {declared.type}"
            elif declared.default != argument.default:
                code, message = (
                    "DEFAULT_MISMATCH",
                    f"{label}({name}) is @external with another default",
                )
            else:
                continue
            self._report.error(f"EXTERNAL_ARGUMENT_{code}", message, field.position)

    def _is_used(self, graph: str, type_name: str, field: str) -> bool:
        return (type_name, field) in self._used[graph]

    def _join(
        self, graph: str, type_name: str, field: FieldDef, *, declared: Declared, merged_type: str
    ) -> FieldJoin:
        requires, provides, override = (field.get(n) for n in ("requires", "provides", "override"))
        return FieldJoin(
            graph=graph,
            type=field.type if field.type != merged_type else None,
            external=_is_external(field, declared[graph]),
            requires=requires.text("fields") if requires else None,
            provides=provides.text("fields") if provides else None,
            override=override.text("from") if override else None,
            override_label=override.text("label") or None if override else None,
        )

    def _overridden(self, label: str, fields: Mapping[str, FieldDef]) -> dict[str, str | None]:
        """Return the graphs whose field another one overrides; a label means: only sometimes."""
        found: dict[str, str | None] = {}
        by_name = {schema.name: graph for graph, schema in self._schemas.items()}
        for graph, field in fields.items():
            override = field.get("override")
            if override is None:
                continue
            source = by_name.get(override.text("from"))
            if source == graph:
                self._report.error(
                    "OVERRIDE_FROM_SELF_ERROR", f"{label} overrides itself", field.position
                )
            elif source is None:
                self._report.warn(
                    "FROM_SUBGRAPH_DOES_NOT_EXIST",
                    f'{label} overrides "{override.text("from")}", which is no subgraph',
                )
            elif source not in fields or fields[source].has("external"):
                self._report.info(
                    "OVERRIDE_DIRECTIVE_CAN_BE_REMOVED", f"{label}: nothing to override"
                )
            elif fields[source].has("override"):
                self._report.error(
                    "OVERRIDE_SOURCE_HAS_OVERRIDE",
                    f"{label}: the source overrides too",
                    field.position,
                )
            else:
                found[source] = override.text("label") or None
                self._report.info(
                    "OVERRIDE_MIGRATION_IN_PROGRESS"
                    if found[source]
                    else "OVERRIDDEN_FIELD_CAN_BE_REMOVED",
                    f"{label} of {self._schemas[source].name} is overridden",
                )
        return found

    def _check_sharing(
        self, label: str, resolved: Mapping[str, FieldDef], *, declared: Declared
    ) -> None:
        """Report a field that several subgraphs resolve, unless all of them share it."""
        type_name, _, name = label.partition(".")
        is_shared = {
            graph: field.has("shareable")
            or name in key_fields(declared[graph])
            or (type_name, name) in self._provided[graph]
            for graph, field in resolved.items()
        }
        if type_name == "Subscription" and any(is_shared.values()):
            self._report.error("INVALID_FIELD_SHARING", f"{label} is a subscription: not to share")
            return
        for graph, field in self._through_interface_objects(name, declared).items():
            is_shared.setdefault(graph, field.has("shareable"))
        unshared = [graph for graph, is_so in is_shared.items() if not is_so]
        if len(is_shared) > 1 and unshared:
            listed = ", ".join(self._schemas[graph].name for graph in unshared)
            self._report.error(
                "INVALID_FIELD_SHARING",
                f"{label} is resolved by several subgraphs, but not @shareable in {listed}",
                *(resolved[graph].position for graph in unshared if graph in resolved),
            )

    def _through_interface_objects(self, name: str, declared: Declared) -> Mapping[str, FieldDef]:
        """Return who resolves the field `name` of an object type by knowing its interface as an object."""
        interfaces = {i for type_ in declared.values() for i in type_.interfaces}
        found: dict[str, FieldDef] = {}
        for graph, schema in self._schemas.items():
            for type_ in (schema.types[i] for i in sorted(interfaces) if i in schema.types):
                field = type_.fields.get(name)
                if field is None or not type_.has("interfaceObject") or field.has("external"):
                    continue
                if name not in key_fields(type_):
                    found[graph] = field
        return found

    def _type(
        self,
        label: str,
        fields: Mapping[str, FieldDef],
        own: Mapping[str, FieldDef],
        *,
        overridden: Collection[str],
    ) -> str:
        merged: str | None = None
        for field in own.values():
            known = merged
            merged = (
                field.type
                if known is None
                else merge_output(known, field.type, is_subtype=self._is_subtype)
            )
            if merged is None:
                listed = ", ".join(f"{self._schemas[g].name}: {f.type}" for g, f in own.items())
                positions = (f.position for f in own.values())
                self._report.error(
                    "FIELD_TYPE_MISMATCH", f"{label} differs in type ({listed})", *positions
                )
                return field.type
        assert merged is not None
        if any(field.type != merged for field in own.values()):
            self._report.info(
                "INCONSISTENT_BUT_COMPATIBLE_FIELD_TYPE", f"{label} is merged as {merged}"
            )
        for graph in fields.keys() - own.keys():
            given = fields[graph].type
            if graph in overridden:
                fits = merge_output(given, merged, is_subtype=self._is_subtype) is not None
                code = "FIELD_TYPE_MISMATCH"
            else:
                fits, code = given == merged, "EXTERNAL_TYPE_MISMATCH"
            if not fits:
                self._report.error(
                    code,
                    f"{label} is {merged}, but {given} in {self._schemas[graph].name}",
                    fields[graph].position,
                )
        return merged

    def _is_subtype(self, narrow: str, wide: str) -> bool:
        return (narrow, wide) in self._subtypes


def _as_overridden(join: FieldJoin) -> FieldJoin:
    return FieldJoin(graph=join.graph, type=join.type, used_overridden=True)


def _merged_directives(own: Mapping[str, FieldDef]) -> tuple[Applied, ...]:
    merged: dict[object, Applied] = {}
    for applied in (a for field in own.values() for a in field.directives):
        if applied.name == "tag":
            merged.setdefault(("tag", applied.text("name")), applied)
        elif applied.name in ("inaccessible", "deprecated"):
            merged.setdefault(applied.name, applied)
    return tuple(merged.values())


def _is_external(field: FieldDef, type_: TypeDef) -> bool:
    """Tell whether a field is another's; the key fields of an extension count as its own."""
    if not (field.has("external") or type_.has("external")):
        return False
    return not (field.in_extension and field.name in key_fields(type_))


def _subtypes(schemas: Mapping[str, SubgraphSchema]) -> frozenset[tuple[str, str]]:
    pairs: set[tuple[str, str]] = set()
    for schema in schemas.values():
        for type_ in schema.types.values():
            pairs |= {(type_.name, interface) for interface in type_.interfaces}
            pairs |= {(member, type_.name) for member in type_.members}
    return frozenset(pairs)
