"""How many fetches plans take, and what they look like."""

from __future__ import annotations

from dohost.federation.contract import Subgraph
from dohost.federation.engine import Engine

SDL = {
    "accounts": 'type Query { me: User } type User @key(fields: "id") { id: ID! name: String username: String @shareable }',
    "products": 'type Query { topProducts(first: Int = 5): [Product] } type Product @key(fields: "upc") { upc: String! name: String price: Int weight: Int }',
    "reviews": 'type Review @key(fields: "id") { id: ID! body: String author: User @provides(fields: "username") product: Product } type User @key(fields: "id") { id: ID! username: String @external reviews: [Review] } type Product @key(fields: "upc") { upc: String! reviews: [Review] }',
    "inventory": 'type Product @key(fields: "upc") { upc: String! weight: Int @external price: Int @external inStock: Boolean shippingEstimate: Int @requires(fields: "price weight") }',
}


def classic(fed2: str, **options: bool) -> Engine:
    composed = Engine.compose([
        Subgraph(name=name, sdl=fed2 + sdl, root_fields_apart=options.get(name, False))
        for name, sdl in SDL.items()
    ])  # fmt: skip
    assert isinstance(composed, Engine), composed
    return composed


def shape(engine: Engine, query: str) -> list[list[str]]:
    return [sorted(fetch.service for fetch in wave) for wave in engine.plan(query).waves]


def test_requires_and_plain_fields_share_one_fetch(fed2: str) -> None:
    query = "{ topProducts { inStock shippingEstimate } }"
    assert shape(classic(fed2), query) == [["products"], ["inventory"]]


def test_the_classic_query_takes_eight_fetches_in_three_waves(fed2: str) -> None:
    query = """{
      topProducts { upc name inStock shippingEstimate
        reviews { body author { name username reviews { product { name } } } } }
      me { reviews { product { inStock } } }
    }"""
    assert shape(classic(fed2), query) == [
        ["accounts", "products"],
        ["inventory", "reviews", "reviews"],
        ["accounts", "inventory", "products"],
    ]


def test_places_that_ask_one_subgraph_the_same_share_a_request(fed2: str) -> None:
    query = "{ topProducts { reviews { body } } me { reviews { body } } }"
    assert shape(classic(fed2), query) == [["accounts", "products"], ["reviews", "reviews"]]
    query = "{ a: topProducts { inStock } b: topProducts(first: 1) { inStock } }"
    assert shape(classic(fed2), query) == [["products"], ["inventory"]]


def test_a_key_field_alone_needs_no_hop(fed2: str) -> None:
    assert shape(classic(fed2), "{ me { reviews { product { upc } } } }") == [
        ["accounts"],
        ["reviews"],
    ]


def test_root_fields_stay_apart_where_objects_are_chosen_by_argument(fed2: str) -> None:
    query = "{ a: topProducts(first: 1) { upc } b: topProducts(first: 2) { upc } }"
    assert shape(classic(fed2), query) == [["products"]]
    assert shape(classic(fed2, products=True), query) == [["products", "products"]]


def test_a_typename_alone_needs_no_fetch(fed2: str) -> None:
    assert shape(classic(fed2), "{ __typename }") == []


def test_a_plan_prints_as_a_tree(fed2: str) -> None:
    assert str(classic(fed2).plan("{ topProducts { inStock } }")) == (
        "QueryPlan {\n"
        "  Fetch products\n"
        "    query { topProducts { upc } }\n"
        "  Fetch inventory at [topProducts: Product { upc }]\n"
        "    query($representations: [_Any!]!) { _entities(representations: $representations) "
        "{ ... on Product { inStock } } }\n"
        "}"
    )


def test_many_subgraphs_that_share_a_type_do_not_hide_the_one_that_matters(fed2: str) -> None:
    sdls = {
        f"s{i}": f"type Query {{ v: V @shareable }} type V {{ f{i}: Int a: Int @shareable }}"
        for i in range(20)
    }
    composed = Engine.compose([Subgraph(name=n, sdl=fed2 + s) for n, s in sdls.items()])
    assert isinstance(composed, Engine), composed
    assert shape(composed, "{ v { a f7 f19 } }") == [["s19", "s7"]]


def test_a_progressive_override_without_its_label_leaves_the_field_where_it_was(fed2: str) -> None:
    composed = Engine.compose([
        Subgraph(name="a", sdl=fed2 + "type Query { q: Int }"),
        Subgraph(name="b", sdl=fed2 + 'type Query { q: Int @override(from: "a", label: "percent(5)") r: Int }'),
    ])  # fmt: skip
    assert isinstance(composed, Engine), composed
    assert shape(composed, "{ q }") == [["a"]]


def test_a_composed_supergraph_is_read_back_with_the_same_plans(fed2: str) -> None:
    engine = classic(fed2)
    again = Engine.from_supergraph(engine.supergraph_sdl)
    query = "{ topProducts { shippingEstimate reviews { author { username } } } }"
    assert str(again.plan(query)) == str(engine.plan(query))
    assert again.schema_hash == engine.schema_hash


def test_a_chain_of_keys_takes_one_fetch_per_link(fed2: str) -> None:
    count = 15
    sdls = [
        f'type T @key(fields: "k{i}") @key(fields: "k{i + 1}") '
        f"{{ k{i}: ID! @shareable k{i + 1}: ID! @shareable f{i}: Int }}"
        for i in range(count)
    ]
    sdls[0] += " type Query { t: T }"
    composed = Engine.compose([
        Subgraph(name=f"s{i}", sdl=fed2 + sdl) for i, sdl in enumerate(sdls)
    ])  # fmt: skip
    assert isinstance(composed, Engine), composed
    assert shape(composed, "{ t { f14 } }") == [[f"s{i}"] for i in range(count)]


def test_a_chain_of_requires_takes_one_fetch_per_link(fed2: str) -> None:
    sdls = ['type Query { t: T } type T @key(fields: "id") { id: ID! f0: Int }']
    sdls += [
        f'type T @key(fields: "id") {{ id: ID! f{i - 1}: Int @external '
        f'f{i}: Int @requires(fields: "f{i - 1}") }}'
        for i in range(1, 20)
    ]
    composed = Engine.compose([
        Subgraph(name=f"s{i}", sdl=fed2 + sdl) for i, sdl in enumerate(sdls)
    ])  # fmt: skip
    assert isinstance(composed, Engine), composed
    assert shape(composed, "{ t { f19 } }") == [[f"s{i}"] for i in range(20)]
