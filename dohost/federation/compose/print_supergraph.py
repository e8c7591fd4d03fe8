"""The supergraph as SDL in the join specification's words, so that other tools can read it.

What follows from the rest is left out: a field without `@join__field` is answered by every subgraph that
has the type. The join version is the lowest that can say what is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dohost.federation.compose.api_schema import (
    block,
    describe,
    print_applied,
    print_arguments,
    print_input,
)
from dohost.federation.sdl.model import ROOT_TYPES, Kind
from dohost.federation.supergraph import FieldJoin, SuperField, Supergraph, SuperType, TypeJoin

_ALSO = frozenset({"tag", "inaccessible"})
_HEAD = """schema
  @link(url: "https://specs.apollo.dev/link/v1.0")
  @link(url: "https://specs.apollo.dev/join/v{join}", for: EXECUTION){features}
{{
{roots}
}}

directive @join__enumValue(graph: join__Graph!) repeatable on ENUM_VALUE

directive @join__field(graph: join__Graph, requires: join__FieldSet, provides: join__FieldSet, type: String, external: Boolean, override: String, usedOverridden: Boolean{label}) repeatable on FIELD_DEFINITION | INPUT_FIELD_DEFINITION

directive @join__graph(name: String!, url: String!) on ENUM_VALUE

directive @join__implements(graph: join__Graph!, interface: String!) repeatable on OBJECT | INTERFACE

directive @join__type(graph: join__Graph!, key: join__FieldSet, extension: Boolean! = false, resolvable: Boolean! = true, isInterfaceObject: Boolean! = false) repeatable on OBJECT | INTERFACE | UNION | ENUM | INPUT_OBJECT | SCALAR

directive @join__unionMember(graph: join__Graph!, member: String!) repeatable on UNION

directive @link(url: String, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
{definitions}
scalar join__FieldSet

{graphs}

scalar link__Import

enum link__Purpose {{
  SECURITY
  EXECUTION
}}

"""
_FEATURES = {
    "tag": (
        '\n  @link(url: "https://specs.apollo.dev/tag/v0.3")',
        "\ndirective @tag(name: String!) repeatable on FIELD_DEFINITION | INTERFACE | OBJECT | UNION"
        " | ARGUMENT_DEFINITION | SCALAR | ENUM | ENUM_VALUE | INPUT_OBJECT | INPUT_FIELD_DEFINITION\n",
    ),
    "inaccessible": (
        '\n  @link(url: "https://specs.apollo.dev/inaccessible/v0.2", for: SECURITY)',
        "\ndirective @inaccessible on FIELD_DEFINITION | OBJECT | INTERFACE | UNION"
        " | ARGUMENT_DEFINITION | SCALAR | ENUM | ENUM_VALUE | INPUT_OBJECT | INPUT_FIELD_DEFINITION\n",
    ),
}


def print_supergraph(supergraph: Supergraph) -> str:
    """Print the supergraph SDL; equal supergraphs print alike."""
    types = [_type(supergraph.types[name]) for name in sorted(supergraph.types)]
    body = "\n\n".join(types) + "\n"
    used = [name for name in _FEATURES if f"@{name}" in body]
    has_label = "overrideLabel:" in body
    roots = [f"  {r.lower()}: {r}" for r in ROOT_TYPES if r in supergraph.types]
    graphs = block(
        f"  {g.id} @join__graph(name: {json.dumps(g.name)}, url: {json.dumps(g.url)})"
        for g in supergraph.graphs.values()
    )
    head = _HEAD.format(
        join="0.4" if has_label else "0.3",
        label=", overrideLabel: String" if has_label else "",
        features="".join(_FEATURES[name][0] for name in used),
        definitions="".join(_FEATURES[name][1] for name in used),
        roots="\n".join(roots),
        graphs=f"enum join__Graph{graphs}",
    )
    return head + body


def _type(type_: SuperType) -> str:
    interfaces = f" implements {' & '.join(type_.interfaces)}" if type_.interfaces else ""
    joins = [text for join in type_.joins.values() for text in _type_joins(join)]
    for name, graphs in type_.interfaces.items():
        joins += [f"@join__implements(graph: {g}, interface: {json.dumps(name)})" for g in graphs]
    for name, graphs in type_.members.items():
        joins += [f"@join__unionMember(graph: {g}, member: {json.dumps(name)})" for g in graphs]
    lines = "".join(f"\n  {join}" for join in joins)
    head = (
        f"{type_.kind} {type_.name}{interfaces}{lines}{print_applied(type_.directives, also=_ALSO)}"
    )
    return describe(type_.description) + head + _body(type_)


def _type_joins(join: TypeJoin) -> list[str]:
    end = ", isInterfaceObject: true)" if join.is_interface_object else ")"
    if not join.keys:
        return [f"@join__type(graph: {join.graph}{end}"]
    return [
        f"@join__type(graph: {join.graph}, key: {json.dumps(key.fields)}"
        f"{'' if key.is_resolvable else ', resolvable: false'}{end}"
        for key in join.keys
    ]


def _body(type_: SuperType) -> str:
    if type_.kind is Kind.UNION:
        return "\n  = " + " | ".join(type_.members)
    if type_.kind is Kind.ENUM:
        return (
            "\n"
            + block(
                f"{describe(v.definition.description, indent='  ')}  {v.definition.name}"
                + "".join(f" @join__enumValue(graph: {graph})" for graph in v.graphs)
                + print_applied(v.definition.directives, also=_ALSO)
                for v in type_.values.values()
            ).lstrip()
        )
    if type_.kind is Kind.INPUT:
        return (
            "\n" + block("  " + print_input(i.definition) for i in type_.inputs.values()).lstrip()
        )
    if type_.kind is Kind.SCALAR:
        return ""
    return "\n" + block(_field(field, type_) for field in type_.fields.values()).lstrip()


def _field(field: SuperField, type_: SuperType) -> str:
    arguments = print_arguments(field.arguments.values())
    joins = "".join(_field_join(join) for join in field.joins.values())
    if _is_obvious(field.joins, type_):
        joins = ""
    elif not field.joins:
        joins = " @join__field"
    head = f"  {field.name}{arguments}: {field.type}{joins}"
    return (
        describe(field.description, indent="  ")
        + head
        + print_applied(field.directives, also=_ALSO)
    )


def _is_obvious(joins: Mapping[str, FieldJoin], type_: SuperType) -> bool:
    return joins.keys() == type_.joins.keys() and all(
        join == FieldJoin(graph=graph) for graph, join in joins.items()
    )


def _field_join(join: FieldJoin) -> str:
    parts = [f"graph: {join.graph}"]
    for name, text in (
        ("requires", join.requires),
        ("provides", join.provides),
        ("type", join.type),
        ("override", join.override),
        ("overrideLabel", join.override_label),
    ):
        if text is not None:
            parts.append(f"{name}: {json.dumps(text)}")
    if join.external:
        parts.append("external: true")
    if join.used_overridden:
        parts.append("usedOverridden: true")
    return f" @join__field({', '.join(parts)})"
