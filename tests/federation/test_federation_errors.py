"""Composition's error codes, one smallest case each, and the refusals of requests."""

from __future__ import annotations

import pytest

from dohost.federation.contract import GraphQLLimits, GraphQLRequest, Subgraph
from dohost.federation.engine import Engine

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.7", import: ["@key", "@external", "@requires", "@provides", "@shareable", "@inaccessible", "@override", "@interfaceObject", "@tag"])\n'
Q = "type Query { q: Int @shareable }\n"
K = 'type T @key(fields: "id") { id: ID! '

CASES = [
    ("INVALID_GRAPHQL", ["type Query { q: Nope }"]),
    ("INVALID_GRAPHQL", ["type Query {"]),
    ("INVALID_GRAPHQL", ["type Query { q: Int @nope }"]),
    ("INVALID_GRAPHQL", ["type Query { q: Int } type Query { r: Int }"]),
    ("NO_QUERIES", ["type T { a: Int }"]),
    ("TYPE_KIND_MISMATCH", [Q + "type T { a: Int @shareable }", Q + "enum T { A }"]),
    ("ROOT_QUERY_USED", ["schema { query: Q } type Q { a: Int } type Query { b: Int }"]),
    ("KEY_INVALID_FIELDS", [Q + 'type T @key(fields: "nope") { id: ID! }']),
    ("KEY_INVALID_FIELDS", [Q + 'type T @key(fields: "id {") { id: ID! }']),
    ("KEY_INVALID_FIELDS_TYPE", [Q + "type T @key(fields: [1]) { id: ID! }"]),
    ("KEY_DIRECTIVE_IN_FIELDS_ARG", [Q + 'type T @key(fields: "id @x") { id: ID! }']),
    ("KEY_FIELDS_HAS_ARGS", [Q + 'type T @key(fields: "id") { id(a: Int): ID! }']),
    ("KEY_FIELDS_SELECT_INVALID_TYPE", [Q + 'type T @key(fields: "u { __typename }") { u: U } union U = T']),
    ("REQUIRES_INVALID_FIELDS", [Q + K + 'a: Int @requires(fields: "x") }']),
    ("REQUIRES_FIELDS_MISSING_EXTERNAL", [Q + K + 'a: Int @requires(fields: "b") b: Int }']),
    ("PROVIDES_FIELDS_MISSING_EXTERNAL", [K + 'b: Int } type Query { t: T @provides(fields: "b") }']),
    ("PROVIDES_ON_NON_OBJECT_FIELD", ['type Query { q: Int @provides(fields: "b") }']),
    ("REQUIRES_UNSUPPORTED_ON_INTERFACE", [Q + 'interface I { a: Int b: Int @requires(fields: "a") }']),
    ("EXTERNAL_UNUSED", [Q + K + "a: Int @external }", Q + K + "a: Int }"]),
    ("EXTERNAL_ON_INTERFACE", [Q + "interface I { a: Int @external }"]),
    ("EXTERNAL_MISSING_ON_BASE", [Q + K + 'a: Int @external b: Int @requires(fields: "a") }']),
    ("EXTERNAL_TYPE_MISMATCH", [Q + K + 'a: Int @external b: Int @requires(fields: "a") }', Q + K + "a: String }"]),
    ("FIELD_TYPE_MISMATCH", [Q + "type T { a: Int @shareable }", Q + "type T { a: String @shareable }"]),
    ("FIELD_ARGUMENT_TYPE_MISMATCH", ["type Query { q(a: Int): Int @shareable }", "type Query { q(a: ID): Int @shareable }"]),
    ("FIELD_ARGUMENT_DEFAULT_MISMATCH", ["type Query { q(a: Int = 1): Int @shareable }", "type Query { q(a: Int = 2): Int @shareable }"]),
    ("REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH", ["type Query { q(a: Int!): Int @shareable }", Q]),
    ("REQUIRED_INPUT_FIELD_MISSING_IN_SOME_SUBGRAPH", ["type Query { q(i: I): Int } input I { a: Int b: Int! }", "type Query { r(i: I): Int } input I { a: Int }"]),
    ("EMPTY_MERGED_INPUT_TYPE", ["type Query { q(i: I): Int } input I { a: Int }", "type Query { r(i: I): Int } input I { b: Int }"]),
    ("EMPTY_MERGED_ENUM_TYPE", ["type Query { q(e: E): Int } enum E { A }", "type Query { r(e: E): Int } enum E { B }"]),
    ("EXTERNAL_ARGUMENT_MISSING", [Q + K + 'a: Int @external b: Int @requires(fields: "a") }', Q + K + "a(x: Int): Int }"]),
    ("EXTERNAL_ARGUMENT_TYPE_MISMATCH", [Q + K + 'a(x: ID): Int @external b: Int @requires(fields: "a") }', Q + K + "a(x: Int): Int }"]),
    ("EXTERNAL_ARGUMENT_DEFAULT_MISMATCH", [Q + K + 'a(x: Int = 1): Int @external b: Int @requires(fields: "a") }', Q + K + "a(x: Int = 2): Int }"]),
    ("DIRECTIVE_DEFINITION_INVALID", ["directive @key(fields: Int!) repeatable on OBJECT\n" + Q]),
    ("DIRECTIVE_DEFINITION_INVALID", ["directive @key on OBJECT\n" + Q]),
    ("DIRECTIVE_DEFINITION_INVALID", ["directive @shareable(why: String) on FIELD_DEFINITION\n" + Q]),
    ("DIRECTIVE_DEFINITION_INVALID", ["directive @requires(fields: FieldSet!) on OBJECT\nscalar FieldSet\n" + Q]),
    ("DIRECTIVE_DEFINITION_INVALID", ["directive @external repeatable on FIELD_DEFINITION\n" + Q]),
    ("SHAREABLE_HAS_MISMATCHED_RUNTIME_TYPES", ["type Query { u: U @shareable } union U = A type A { a: Int }", "type Query { u: U @shareable } union U = B type B { b: Int }"]),
    ("ENUM_VALUE_MISMATCH", ["type Query { q(e: E): E } enum E { A B }", "type Query { r: E } enum E { A }"]),
    ("INTERFACE_FIELD_NO_IMPLEM", ["type Query { i: I } interface I { a: Int b: Int } type T implements I @shareable { a: Int b: Int }", "type Query { j: I } interface I { a: Int c: Int } type S implements I { a: Int c: Int }"]),
    ("INVALID_FIELD_SHARING", ["type Query { q: Int }", "type Query { q: Int }"]),
    ("INVALID_SHAREABLE_USAGE", [Q + "interface I { a: Int @shareable }"]),
    ("OVERRIDE_FROM_SELF_ERROR", ['type Query { q: Int @override(from: "s0") }']),
    ("OVERRIDE_SOURCE_HAS_OVERRIDE", ['type Query { q: Int @override(from: "s1") }', 'type Query { q: Int @override(from: "s0") }']),
    ("OVERRIDE_ON_INTERFACE", [Q + 'interface I { a: Int @override(from: "x") }']),
    ("INTERFACE_OBJECT_USAGE_ERROR", [Q + "type I @interfaceObject { a: Int }"]),
    ("INTERFACE_KEY_NOT_ON_IMPLEMENTATION", [Q + 'interface I @key(fields: "id") { id: ID! } type T implements I { id: ID! }']),
    ("REFERENCED_INACCESSIBLE", ["type Query { q: Int t: T } type T @inaccessible { a: Int }"]),
    ("QUERY_ROOT_TYPE_INACCESSIBLE", ["type Query @inaccessible { q: Int }"]),
    ("ONLY_INACCESSIBLE_CHILDREN", ["type Query { t: T } type T { a: Int @inaccessible }"]),
    ("REQUIRED_INACCESSIBLE", ["type Query { q(a: Int! @inaccessible): Int }"]),
    ("UNSUPPORTED_FEATURE", ["type Query { q: Int @federation__authenticated }"]),
    ("UNSUPPORTED_FEATURE", ["type Query { q(a: Int @federation__fromContext(field: \"$c { x }\")): Int }"]),
    ("SATISFIABILITY_ERROR", ["type Query { t: T } type T { a: Int @shareable }", Q + "type T { a: Int @shareable b: Int }"]),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sdls"), CASES)
def test_composition_names_the_error(code: str, sdls: list[str]) -> None:
    composed = Engine.compose(
        [Subgraph(name=f"s{i}", sdl=LINK + sdl) for i, sdl in enumerate(sdls)]
    )
    assert isinstance(composed, list)
    assert code in {error.code for error in composed}, composed


@pytest.mark.parametrize(
    ("code", "link"),
    [
        ("INVALID_LINK_IDENTIFIER", "nonsense"),
        ("UNKNOWN_FEDERATION_LINK_VERSION", "https://specs.apollo.dev/federation/v9.9"),
    ],
)
def test_a_link_that_leads_nowhere_is_an_error(code: str, link: str) -> None:
    composed = Engine.compose([
        Subgraph(name="a", sdl=f'extend schema @link(url: "{link}") type Query {{ q: Int }}')
    ])  # fmt: skip
    assert isinstance(composed, list)
    assert [error.code for error in composed] == [code]


def test_federation_1_needs_a_base_for_every_extension() -> None:
    composed = Engine.compose([
        Subgraph(name="a", sdl='type Query { q: Int } extend type T @key(fields: "id") { id: ID! @external }')
    ])  # fmt: skip
    assert isinstance(composed, list)
    assert composed[0].code == "EXTENSION_WITH_NO_BASE"
    assert composed[0].nodes == ("a:1:23",)


class Nobody:
    def call(self, service, operation, *, context):
        raise AssertionError("no subgraph may be asked")


LIMITS = GraphQLLimits(
    depth_max=3, aliases_max=2, tokens_max=40, directives_max=2, root_fields_max=3
)
REFUSALS = [
    ("GRAPHQL_PARSE_FAILED", "{"),
    ("GRAPHQL_PARSE_FAILED", "{}"),
    ("GRAPHQL_PARSE_FAILED", "{ t {} }"),
    ("GRAPHQL_PARSE_FAILED", "{ ...F } fragment F on Query {}"),
    ("GRAPHQL_VALIDATION_FAILED", "{ nope }"),
    ("GRAPHQL_VALIDATION_FAILED", "{ ...F } fragment F on Query { ...F }"),
    ("OPERATION_RESOLUTION_FAILURE", "query A { q } query B { q }"),
    ("DEPTH_LIMIT_EXCEEDED", "{ t { t { t { a } } } }"),
    ("ALIAS_LIMIT_EXCEEDED", "{ a: q b: q c: q }"),
    ("TOKEN_LIMIT_EXCEEDED", "{ " + "q " * 40 + "}"),
    (
        "DIRECTIVE_LIMIT_EXCEEDED",
        "{ q @skip(if: true) q @skip(if: true) q @skip(if: true) }",
    ),
    ("ROOT_FIELD_LIMIT_EXCEEDED", "{ q q q q }"),
    ("BAD_USER_INPUT", "query($n: Int!) { echo(n: $n) }"),
]


def engine() -> Engine:
    sdl = "type Query { q: Int t: T echo(n: Int): Int } type Mutation { m: Int } type T { t: T a: Int }"
    composed = Engine.compose([Subgraph(name="a", sdl=LINK + sdl)], limits=LIMITS)
    assert isinstance(composed, Engine)
    return composed


@pytest.mark.parametrize(("code", "query"), REFUSALS)
async def test_a_refused_request_runs_nothing_and_says_why(code: str, query: str) -> None:
    result = await engine().execute(GraphQLRequest(query=query), Nobody())
    assert result.is_request_error
    assert result.body["errors"][0]["extensions"]["code"] == code
    assert "data" not in result.body


@pytest.mark.parametrize("query", ["{ t { t { a } } }", "{ a: q b: q }", "{ q q q }"])
def test_a_request_at_the_limit_is_planned(query: str) -> None:
    assert engine().plan(query).fetch_count == 1


async def test_a_mutation_is_refused_where_only_queries_may_run() -> None:
    request = GraphQLRequest(query="mutation { m }")
    result = await engine().execute(request, Nobody(), allow_mutation=False)
    assert result.body["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"


def test_a_directive_that_is_composed_has_one_name_everywhere() -> None:
    url = "https://specs.apollo.dev/federation/v2.7"
    imports = ('"@tag"', '{name: "@tag", as: "@label"}')
    composed = Engine.compose([
        Subgraph(
            name=f"s{index}",
            sdl=f'extend schema @link(url: "{url}", import: [{each}])\ntype Query {{ q{index}: Int }}',
        )
        for index, each in enumerate(imports)
    ])  # fmt: skip
    assert isinstance(composed, list)
    assert [error.code for error in composed] == ["LINK_IMPORT_NAME_MISMATCH"]


def test_a_document_may_define_the_directives_that_it_uses() -> None:
    sdl = (
        'extend schema @link(url: "https://specs.apollo.dev/federation/v2.0", import: ["@key", "FieldSet"])\n'
        "directive @key(fields: FieldSet!, resolvable: Boolean = true) repeatable on OBJECT | INTERFACE\n"
        'scalar FieldSet\ntype Query { t: T } type T @key(fields: "id") { id: ID! }'
    )
    assert isinstance(Engine.compose([Subgraph(name="a", sdl=sdl)]), Engine)


def test_runtime_types_that_differ_but_overlap_are_a_hint() -> None:
    shared = "type Query { u: U @shareable } type A { a: Int @shareable } "
    composed = Engine.compose([
        Subgraph(name="a", sdl=LINK + shared + "union U = A"),
        Subgraph(name="b", sdl=LINK + shared + "union U = A | B type B { b: Int }"),
    ])  # fmt: skip
    assert isinstance(composed, Engine)
    codes = {hint.code for hint in composed.hints}
    assert "INCONSISTENT_RUNTIME_TYPES_FOR_SHAREABLE_RETURN" in codes
