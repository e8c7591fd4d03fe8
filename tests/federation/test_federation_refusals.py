"""Schemas that other composers refuse, and why; and those that only look wrong."""

from __future__ import annotations

import pytest

from dohost.federation.contract import Subgraph
from dohost.federation.engine import Engine

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.8", import: ["@key", "@external", "@requires", "@provides", "@shareable", "@inaccessible", "@override", "@interfaceObject", "@tag"])\n'
URL = "https://specs.apollo.dev"
Q = "type Query { q: Int @shareable }\n"
T = 'type Query { t: T } type T @key(fields: "a") { a: Int x(c: Int!): Int }'
K = 'type T @key(fields: "a") { a: Int '
I = 'type Query { i: I } interface I @key(fields: "id") { id: ID! } type A implements I @key(fields: "id") { id: ID! '  # noqa: E741


def needs(field_set: str) -> str:
    return f'{K}x(c: Int!): Int @external y: Int @requires(fields: "{field_set}") }}'


def overridden(label: str) -> list[str]:
    return [
        f"type Query {{ t: T }} {K}x: Int }}",
        f'{K}x: Int @override(from: "s0", label: "{label}") }}',
    ]


REFUSED = [
    ("REQUIRES_INVALID_FIELDS", [T, needs("x")]),
    ("REQUIRES_INVALID_FIELDS", [T, needs('x(c: \\"1\\")')]),
    ("REQUIRES_INVALID_FIELDS", [T, needs("x(c: $v)")]),
    ("REQUIRES_INVALID_FIELDS", [T, needs("x(c: 1, d: 2)")]),
    ("KEY_INVALID_FIELDS", ['type Query { t: T } type T @key(fields: "") { a: Int }']),
    ("EXTERNAL_TYPE_MISMATCH", [f"type Query {{ t: T }} {K}x: Int! }}", K + 'x: Int @external y: Int @requires(fields: "x") }']),
    ("EXTERNAL_TYPE_MISMATCH", [f"type Query {{ t: T }} {K}x: Int }}", K + 'x: Int! @external y: Int @requires(fields: "x") }']),
    ("FIELD_TYPE_MISMATCH", [f"type Query {{ t: T }} {K}x: Int }}", K + 'x: String @override(from: "s0") }']),
    ("INVALID_FIELD_SHARING", ['type Query { t: T @provides(fields: "x") } ' + K + "x: Int @external }", K + "x: Int }"]),
    ("INVALID_FIELD_SHARING", [Q + "type Subscription { s: Int @shareable }", Q + "type Subscription { s: Int @shareable }"]),
    ("INVALID_FIELD_SHARING", [Q + "type Subscription { s: Int }", Q + "type Subscription { s: Int }"]),
    ("INVALID_FIELD_SHARING", [I + "x: Int }", 'type I @interfaceObject @key(fields: "id") { id: ID! x: Int }']),
    ("INVALID_FIELD_SHARING", [I + "}", *['type I @interfaceObject @key(fields: "id") { id: ID! x: Int }'] * 2]),
    ("INTERFACE_OBJECT_USAGE_ERROR", [I + "}", 'type I @interfaceObject @key(fields: "id") { id: ID! x: Int } type A @key(fields: "id") { id: ID! }']),
    ("INTERFACE_KEY_MISSING_IMPLEMENTATION_TYPE", [I + "}", 'type Query { z: I } interface I { id: ID! } type B implements I @key(fields: "id") { id: ID! }']),
    *(("OVERRIDE_LABEL_INVALID", overridden(label)) for label in ("percent(101)", "1a", "percent(1.123456789)", "")),
    ("EXTENSION_WITH_NO_BASE", [Q + "extend type T { a: Int }"]),
    ("EXTENSION_WITH_NO_BASE", [Q + "extend enum T { A }"]),
    ("INVALID_GRAPHQL", ["type Query { i: I } interface I { a: Int } type A implements I { b: Int }"]),
    ("ONLY_INACCESSIBLE_CHILDREN", ["type Query { u: U } union U = A type A @inaccessible { a: Int }"]),
    ("IMPLEMENTED_BY_INACCESSIBLE", ["type Query { i: I } interface I { a(x: Int): Int } type A implements I { a(x: Int @inaccessible): Int }"]),
    ("INVALID_GRAPHQL", [Q + "query { q }"]),
    ("INVALID_GRAPHQL", ["type Query { u: U } union U = A | A type A { a: Int }"]),
    ("INVALID_GRAPHQL", ["type Query { a: A } interface I { a: Int } type A implements I & I { a: Int }"]),
    ("INVALID_GRAPHQL", ["directive @x on FIELD_DEFINITION\ntype Query { q: Int @x @x }"]),
    ("INVALID_GRAPHQL", ["directive @x(a: Int!) on FIELD_DEFINITION\ntype Query { q: Int @x }"]),
    ("INVALID_GRAPHQL", ["directive @x on OBJECT\ntype Query { q: Int @x }"]),
    ("INVALID_GRAPHQL", ['type Query { u: U } union U @key(fields: "a") = A type A { a: Int }']),
    ("INVALID_GRAPHQL", ["type Query { t: T } type T @key { a: Int }"]),
    ("INVALID_GRAPHQL", ['type Query { t: T } type T @key(field: "a", fields: "a") { a: Int }']),
    ("INVALID_GRAPHQL", ["type Query { q: Int @override }"]),
    ("INVALID_GRAPHQL", ["type Query { i: I } interface I @shareable { a: Int }"]),
]  # fmt: skip


def composed(*sdls: str) -> Engine | list[str]:
    engine = Engine.compose([Subgraph(name=f"s{i}", sdl=sdl) for i, sdl in enumerate(sdls)])
    return engine if isinstance(engine, Engine) else sorted({error.code for error in engine})


@pytest.mark.parametrize(("code", "sdls"), REFUSED)
def test_composition_refuses_with_that_code_alone(code: str, sdls: list[str]) -> None:
    assert composed(*(LINK + sdl for sdl in sdls)) == [code]


@pytest.mark.parametrize("label", ["percent(0)", "percent(100)", "percent(33.3)", "a-b/c:d.e_f"])
def test_a_label_is_a_name_or_a_share(label: str) -> None:
    assert isinstance(composed(*(LINK + sdl for sdl in overridden(label))), Engine)


def test_a_provided_field_is_one_subgraph_more_that_resolves_it() -> None:
    provider = 'type Query { t: T @provides(fields: "x") } ' + K + "x: Int @external }"
    assert isinstance(composed(LINK + provider, LINK + K + "x: Int @shareable }"), Engine)


def test_federation_1_shares_what_it_provides() -> None:
    assert isinstance(
        composed(
            "type Query { t: T } " + K + "x: Int }",
            f"extend {K}@external x: Int @external }} "
            'extend type Query { u: T @provides(fields: "x") }',
        ),
        Engine,
    )


def test_federation_1_takes_a_key_as_a_list() -> None:
    engine = composed('type Query { t: T } type T @key(fields: ["a", "b"]) { a: Int b: Int }')
    assert isinstance(engine, Engine)
    assert engine.supergraph.types["T"].joins["S0"].keys[0].fields == "a b"


def test_defaults_that_differ_in_the_order_of_fields_are_equal() -> None:
    head = "input I { a: Int b: [String!] } type Query { q(i: I = "
    tail = "): Int @shareable }"
    engine = composed(
        LINK + head + '{ a: 1, b: ["x"] }' + tail, LINK + head + '{ b: ["x"], a: 1 }' + tail
    )
    assert isinstance(engine, Engine)
    assert '(i:I={a:1,b:["x"]})' in "".join(engine.api_sdl.split())


@pytest.mark.parametrize(
    ("version", "imported"),
    [
        ("2.8", "@cost"),
        ("2.2", "@interfaceObject"),
        ("2.0", "Scope"),
        ("2.8", "key"),
        ("2.8", "federation__FieldSet"),
    ],
)
def test_only_what_a_version_has_can_be_imported(version: str, imported: str) -> None:
    link = f'@link(url: "{URL}/federation/v{version}", import: ["{imported}"])'
    assert composed(f"extend schema {link}\n{Q}") == ["INVALID_LINK_DIRECTIVE_USAGE"]


def test_one_name_can_be_imported_from_one_feature_only() -> None:
    link = (
        f'@link(url: "{URL}/federation/v2.0", import: ["@key"]) '
        '@link(url: "https://example.com/other/v1.0", import: ["@key"])'
    )
    assert composed(f"extend schema {link}\ntype Query {{ q: Int }}") == [
        "INVALID_LINK_DIRECTIVE_USAGE"
    ]


@pytest.mark.parametrize(
    ("link", "local"),
    [
        ("", "inaccessible"),
        (', as: "hide"', "hide"),
        (', import: ["@inaccessible"]', "inaccessible"),
        (', import: [{name: "@inaccessible", as: "@secret"}]', "secret"),
    ],
)
def test_what_the_specification_of_inaccessible_hides_is_hidden(link: str, local: str) -> None:
    engine = composed(
        f'extend schema @link(url: "{URL}/federation/v2.0") '
        f'@link(url: "{URL}/inaccessible/v0.2"{link})\ntype Query {{ q: Int hidden: Int @{local} }}'
    )
    assert isinstance(engine, Engine)
    assert "hidden" not in engine.api_sdl
    assert "hidden: Int @inaccessible" in engine.supergraph_sdl


def test_a_document_of_federation_1_that_hides_is_refused_and_not_shown() -> None:
    link = f'extend schema @link(url: "{URL}/inaccessible/v0.2")\n'
    assert composed(link + "type Query { q: Int hidden: Int @inaccessible }") == [
        "INVALID_LINK_DIRECTIVE_USAGE"
    ]


HINTED = [
    ("INCONSISTENT_BUT_COMPATIBLE_ARGUMENT_TYPE", ["type Query { q(a: Int!): Int @shareable }", "type Query { q(a: Int): Int @shareable }"]),
    ("INCONSISTENT_BUT_COMPATIBLE_FIELD_TYPE", ["type Query { q(i: I): Int } input I { a: Int! }", "type Query { r(i: I): Int } input I { a: Int }"]),
    ("INCONSISTENT_ENUM_VALUE_FOR_OUTPUT_ENUM", ["type Query { q: E } enum E { A B }", "type Query { r: E } enum E { B C }"]),
    ("UNUSED_ENUM_TYPE", ["type Query { q: Int } enum E { A B }"]),
    ("INCONSISTENT_UNION_MEMBER", ["type Query { q: U } union U = A type A { a: Int }", "type Query { r: U } union U = B type B { a: Int }"]),
    ("INCONSISTENT_INTERFACE_VALUE_TYPE_FIELD", ['type Query { q: I } interface I { a: Int } type A implements I @key(fields: "a") { a: Int }', 'type Query { r: I } interface I { a: Int b: Int } type A implements I @key(fields: "a") { a: Int b: Int }']),
    ("INCONSISTENT_OBJECT_VALUE_TYPE_FIELD", ["type Query { q: Int } type T { a: Int @shareable }", "type Query { r: Int } type T { a: Int @shareable b: Int }"]),
    ("OVERRIDE_DIRECTIVE_CAN_BE_REMOVED", [f'type Query {{ t: T }} {K}x: Int @external y: Int @requires(fields: "x") }}', K + 'x: Int @override(from: "s0") }']),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sdls"), HINTED, ids=[code for code, _ in HINTED])
def test_what_composes_with_a_loss_is_a_hint(code: str, sdls: list[str]) -> None:
    engine = composed(*(LINK + sdl for sdl in sdls))
    assert isinstance(engine, Engine)
    assert {hint.code for hint in engine.hints} == {code}
    alike = composed(*(LINK + "type Query { q: Int @shareable }" for _ in sdls))
    assert isinstance(alike, Engine)
    assert not alike.hints
