"""What a federation gateway must be able to do, one small world each."""

from __future__ import annotations

from dohost.federation.contract import SubgraphReply
from dohost.federation.subgraph import Resolver


def same(representation: dict) -> dict:
    return representation


async def test_many_orders_are_one_entities_call(world, fed2: str) -> None:
    orders = [{"id": str(i)} for i in range(20)]
    seen: list[int] = []

    def batch(representations: list[dict]) -> list[dict]:
        seen.append(len(representations))
        return [{"total": float(r["id"])} for r in representations]

    cut = world({
        "users": (fed2 + 'type Query { orders: [Order!]! } type Order @key(fields: "id", resolvable: false) { id: ID! }', {"Query.orders": lambda: orders + orders}),
        "orders": (fed2 + 'type Order @key(fields: "id") { id: ID! total: Float! }', {"Order": Resolver(batch, is_batch=True)}),
    })  # fmt: skip
    data = await cut.data("{ orders { total } }")
    assert [o["total"] for o in data["orders"]] == [float(i) for i in range(20)] * 2
    assert seen == [20]
    assert cut.services == ["users", "orders"]


async def test_a_composite_key_with_lists_is_gathered_over_three_hops(world, fed2: str) -> None:
    cut = world({
        "list": (fed2 + 'type Query { top: ProductList! } type ProductList @key(fields: "products { id }") { products: [Product!]! } type Product @key(fields: "id") { id: ID! }', {"Query.top": lambda: {"products": [{"id": "1"}, {"id": "2"}]}, "Product": same}),
        "price": (fed2 + 'type Product @key(fields: "id pid") { id: ID! pid: ID! price: Float }', {"Product": lambda r: {"price": float(r["pid"])}}),
        "pid": (fed2 + 'type Product @key(fields: "id") { id: ID! pid: ID! @shareable }', {"Product": lambda r: {"pid": "9" + r["id"]}}),
        "first": (fed2 + 'type ProductList @key(fields: "products { id pid }") { products: [Product!]! @external first: Product @shareable } type Product @key(fields: "id", resolvable: false) { id: ID! pid: ID! @external }', {"ProductList": lambda r: {"first": {"id": r["products"][0]["pid"][-1]}}}),
    })  # fmt: skip
    data = await cut.data("{ top { products { price } first { id price } } }")
    assert data == {
        "top": {"products": [{"price": 91.0}, {"price": 92.0}], "first": {"id": "1", "price": 91.0}}
    }


async def test_only_a_resolvable_key_leads_into_a_subgraph(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { a: A } type A @key(fields: "id") @key(fields: "pair { one two }") { id: ID! pair: Pair! @shareable } type Pair { one: ID! @shareable two: ID! @shareable }', {"Query.a": lambda: {"id": "1", "pair": {"one": "o", "two": "t"}}}),
        "b": (fed2 + 'type A @key(fields: "id", resolvable: false) @key(fields: "pair { two }") { id: ID! pair: Pair! @shareable name: String! } type Pair { two: ID! @shareable }', {"A": lambda r: {"name": "two:" + r["pair"]["two"]}}),
    })  # fmt: skip
    assert await cut.data("{ a { name } }") == {"a": {"name": "two:t"}}


async def test_an_entity_whose_key_turns_out_null_is_not_asked_for(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { books: [Book] } type Book @key(fields: "upc") { upc: ID! }', {"Query.books": lambda: [{"upc": "1"}, {"upc": "2"}]}),
        "b": (fed2 + 'type Book @key(fields: "id") @key(fields: "upc") { id: ID upc: ID! }', {"Book": lambda r: {"id": "b1", "upc": "1"} if r["upc"] == "1" else None}),
        "c": (fed2 + 'type Book @key(fields: "id") { id: ID author: String }', {"Book": lambda r: {"author": "of " + r["id"]}}),
    })  # fmt: skip
    assert await cut.data("{ books { upc author } }") == {
        "books": [{"upc": "1", "author": "of b1"}, {"upc": "2", "author": None}]
    }
    assert len(cut.calls[2][1].representations) == 1


async def test_a_value_type_is_completed_by_entering_its_parent_again(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { products: [Product] } type Product @key(fields: "id pid") { id: ID! pid: ID! }', {"Query.products": lambda: [{"id": "1", "pid": "p"}]}),
        "b": (fed2 + 'type Product @key(fields: "id pid") { id: ID! pid: ID! category: Category @shareable } type Category { name: String @shareable }', {"Product": same, "Product.category": lambda p: {"name": "n"}}),
        "c": (fed2 + 'type Product @key(fields: "id pid") { id: ID! pid: ID! category: Category @shareable } type Category { details: String @shareable }', {"Product": same, "Product.category": lambda p: {"details": "d"}}),
    })  # fmt: skip
    data = await cut.data("{ products { category { name details } } }")
    assert data == {"products": [{"category": {"name": "n", "details": "d"}}]}
    assert cut.services == ["a", "b", "c"]


async def test_a_shared_root_is_asked_in_parallel_and_merged(world, fed2: str) -> None:
    def part(field: str) -> tuple[str, dict]:
        sdl = f"type Query {{ product: P @shareable }} type P {{ id: ID! @shareable {field}: String }}"
        return fed2 + sdl, {"Query.product": lambda: {"id": "1", field: field}}

    cut = world({"x": part("name"), "y": part("price"), "z": part("category")})
    data = await cut.data("{ product { id name price category } }")
    assert data == {
        "product": {"id": "1", "name": "name", "price": "price", "category": "category"}
    }
    assert cut.engine.plan("{ product { id name price category } }").fetch_count == 3
    assert len(cut.engine.plan("{ product { id name price category } }").waves) == 1


async def test_a_chain_of_requires_bounces_between_subgraphs(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { p: P } type P @key(fields: "id") { id: ID! price: Int! twice: Int! @requires(fields: "half") half: Int! @external }', {"Query.p": lambda: {"id": "1", "price": 8}, "P": same, "P.price": lambda p: 8, "P.twice": lambda p, representation: 4 * representation["half"]}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! price: Int! @external half: Int! @requires(fields: "price") label: String! @requires(fields: "twice") twice: Int! @external }', {"P": same, "P.half": lambda p: p["price"] // 2, "P.label": lambda p: f"x{p['twice']}"}),
    })  # fmt: skip
    assert await cut.data("{ p { label } }") == {"p": {"label": "x16"}}
    assert cut.services == ["a", "b", "a", "b"]


async def test_a_requires_with_an_argument_never_meets_the_clients_own(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { p: P } type P @key(fields: "id") { id: ID! price(currency: String!): Int! }', {"Query.p": lambda: {"id": "1"}, "P": same, "P.price": lambda p, currency: {"USD": 1, "EUR": 2}[currency]}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! price(currency: String!): Int! @external usd: Int! @requires(fields: "price(currency: \\"USD\\")") eur: Int! @requires(fields: "price(currency: \\"EUR\\")") }', {"P": same, "P.usd": lambda p: p["price"] * 10, "P.eur": lambda p: p["price"] * 100}),
    })  # fmt: skip
    assert await cut.data('{ p { price(currency: "EUR") usd eur } }') == {
        "p": {"price": 2, "usd": 10, "eur": 200}
    }


async def test_a_requires_looks_through_an_interface(world, fed2: str) -> None:
    address = "interface Address { id: ID! } type Home implements Address @shareable { id: ID! } type Work implements Address @shareable { id: ID! }"
    cut = world({
        "a": (fed2 + address + ' type Query { u: U } type U @key(fields: "id") { id: ID! address: Address! }', {"Query.u": lambda: {"id": "1"}, "U": same, "U.address": lambda u: {"__typename": "Work", "id": "w"}}),
        "b": (fed2 + address + ' type U @key(fields: "id") { id: ID! address: Address! @external line: String! @requires(fields: "address { id ... on Work { id } }") }', {"U": same, "U.line": lambda u: u["address"]["__typename"] + u["address"]["id"]}),
    })  # fmt: skip
    assert await cut.data("{ u { line } }") == {"u": {"line": "Workw"}}


async def test_provides_saves_the_hop_on_that_path_alone(world, fed2: str) -> None:
    cut = world({
        "users": (fed2 + 'type Query { me: U } type U @key(fields: "id") { id: ID! name: String @shareable }', {"Query.me": lambda: {"id": "1", "name": "n"}, "U": lambda r: {"name": "n"}}),
        "posts": (fed2 + 'type Query { post: Post } type Post { by: U @provides(fields: "name") also: U } type U @key(fields: "id") { id: ID! name: String @external }', {"Query.post": lambda: {"by": {"id": "1", "name": "n"}, "also": {"id": "1"}}}),
    })  # fmt: skip
    assert await cut.data("{ post { by { name } } }") == {"post": {"by": {"name": "n"}}}
    assert cut.services == ["posts"]
    assert await cut.data("{ post { also { name } } }") == {"post": {"also": {"name": "n"}}}
    assert cut.services == ["posts", "users"]


async def test_an_overridden_field_comes_from_its_new_owner(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { p: P } type P @key(fields: "id") { id: ID! at: String }', {"Query.p": lambda: {"id": "1", "at": "old"}}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! at: String @override(from: "a") }', {"P": lambda r: {"at": "new"}}),
    })  # fmt: skip
    assert await cut.data("{ p { at } }") == {"p": {"at": "new"}}


async def test_unlike_types_under_one_response_key_are_aliased_and_put_back(
    world, fed2: str
) -> None:
    cut = world({
        "a": (fed2 + "type Query { all: [AB!]! } union AB = A | B type A @shareable { id: ID! } type B { id: ID same: A }", {"Query.all": lambda: [{"__typename": "A", "id": "1"}, {"__typename": "B", "id": None, "same": {"id": "3"}}]}),
        "b": (fed2 + "type Query { other: A } type A @shareable { id: ID }", {}),
    })  # fmt: skip
    assert await cut.data("{ all { ... on A { id } ... on B { id same { id } } } }") == {
        "all": [{"id": "1"}, {"id": None, "same": {"id": "3"}}]
    }
    assert "id__B: id" in cut.calls[0][1].text


async def test_a_member_that_the_subgraph_lacks_selects_nothing(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + "type Query { one: M } union M = Book type Book { title: String @shareable }", {"Query.one": lambda: {"__typename": "Book", "title": "t"}}),
        "b": (fed2 + "type Query { other: M } union M = Book | Film type Book { title: String @shareable } type Film { length: Int }", {"Query.other": lambda: {"__typename": "Film", "length": 3}}),
    })  # fmt: skip
    query = "{ one { ... on Film { length } } other { __typename ... on Film { length } } }"
    assert await cut.data(query) == {"one": {}, "other": {"__typename": "Film", "length": 3}}


async def test_a_skipped_branch_calls_nobody(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { p: P } type P @key(fields: "id") { id: ID! }', {"Query.p": lambda: {"id": "1"}}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! name: String }', {"P": lambda r: {"name": "n"}}),
    })  # fmt: skip
    query = "query($with: Boolean!) { p { id name @include(if: $with) } }"
    assert await cut.data(query, {"with": False}) == {"p": {"id": "1"}}
    assert cut.services == ["a"]
    assert await cut.data(query, {"with": True}) == {"p": {"id": "1", "name": "n"}}
    assert cut.services == ["a", "b"]


async def test_a_hidden_enum_value_is_null_and_is_refused_as_input(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + "enum E { SHOWN HIDDEN @inaccessible } type Query { e(of: E): E }", {"Query.e": lambda of=None: "HIDDEN"}),
    })  # fmt: skip
    assert await cut.data("{ e }") == {"e": None}
    body = await cut.body("query($of: E) { e(of: $of) }", {"of": "HIDDEN"})
    assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert cut.calls == []


async def test_mutations_run_in_order_across_subgraphs(world, fed2: str) -> None:
    log: list[str] = []

    def note(name: str):
        return lambda: log.append(name) or {"id": name}

    cut = world({
        "a": (fed2 + 'type Query { q: Int } type Mutation { one: P three: P } type P @key(fields: "id") { id: ID! }', {"Mutation.one": note("one"), "Mutation.three": note("three")}),
        "b": (fed2 + 'type Mutation { two: P } type P @key(fields: "id") { id: ID! seen: [String!]! }', {"Mutation.two": note("two"), "P": same, "P.seen": lambda p: list(log)}),
    })  # fmt: skip
    data = await cut.data("mutation { x: one { seen } two { seen } three { id } }")
    assert data == {
        "x": {"seen": ["one"]},
        "two": {"seen": ["one", "two"]},
        "three": {"id": "three"},
    }


async def test_federation_1_documents_are_accepted(world) -> None:
    cut = world({
        "a": ('type Query { u: User } type User @key(fields: "id") { id: ID! name: String }', {"Query.u": lambda: {"id": "1", "name": "n"}, "User": lambda r: {"name": "n"}}),
        "b": ('extend type User @key(fields: "id") { id: ID! @external name: String @external posts: [Post] } type Post { title: String by: User @provides(fields: "name") }', {"User": same, "User.posts": lambda u: [{"title": "t", "by": {"id": "1", "name": "p"}}]}),
    })  # fmt: skip
    data = await cut.data("{ u { name posts { title by { id name } } } }")
    assert data == {"u": {"name": "n", "posts": [{"title": "t", "by": {"id": "1", "name": "p"}}]}}
    assert cut.services == ["a", "b"]


async def test_an_interface_object_adds_fields_to_every_implementation(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { all: [Node!]! } interface Node @key(fields: "id") { id: ID! } type X implements Node @key(fields: "id") { id: ID! x: Int } type Y implements Node @key(fields: "id") { id: ID! }', {"Query.all": lambda: [{"__typename": "X", "id": "1", "x": 5}, {"__typename": "Y", "id": "2"}]}),
        "b": (fed2 + 'type Node @key(fields: "id") @interfaceObject { id: ID! score: Int }', {"Node": lambda r: {"score": int(r["id"]) * 10}}),
    })  # fmt: skip
    assert await cut.data("{ all { __typename score ... on X { x } } }") == {
        "all": [{"__typename": "X", "score": 10, "x": 5}, {"__typename": "Y", "score": 20}]
    }
    assert {r["__typename"] for r in cut.calls[1][1].representations} == {"Node"}


INTERFACE = 'type Query { all: [Node!]! } interface Node @key(fields: "id") { id: ID! } type X implements Node @key(fields: "id") { id: ID! x: Int } type Y implements Node @key(fields: "id") { id: ID! }'
OBJECT = 'type Query { some: [Node!]! } type Node @key(fields: "id") @interfaceObject { id: ID! score: Int }'


async def test_an_interface_object_learns_its_types_from_the_interface(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + INTERFACE, {"Node": lambda r: {"__typename": "X" if r["id"] == "1" else "Y", "x": 5}, "X": lambda r: {"x": 5}}),
        "b": (fed2 + OBJECT, {"Node": lambda r: {"score": int(r["id"])}, "Query.some": lambda: [{"id": "1", "score": 1}, {"id": "2", "score": 2}]}),
    })  # fmt: skip
    assert await cut.data("{ some { id score } }") == {
        "some": [{"id": "1", "score": 1}, {"id": "2", "score": 2}]
    }
    assert cut.services == ["b"]
    assert await cut.data("{ some { __typename score ... on X { x } } }") == {
        "some": [{"__typename": "X", "score": 1, "x": 5}, {"__typename": "Y", "score": 2}]
    }


async def test_fields_of_a_subgraph_that_is_down_are_null_and_the_others_live(
    world, fed2: str
) -> None:
    cut = world({
        "a": (fed2 + 'type Query { ps: [P!]! } type P @key(fields: "id") { id: ID! }', {"Query.ps": lambda: [{"id": "1"}, {"id": "2"}]}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! name: String must: Int! }', {"P": same}),
    })  # fmt: skip
    cut.down["b"] = SubgraphReply(data=None, errors=[{"message": "circuit open"}])
    body = await cut.body("{ ps { id name } }")
    assert body["data"] == {"ps": [{"id": "1", "name": None}, {"id": "2", "name": None}]}
    assert body["errors"] == [
        {"message": "circuit open", "path": ["ps"], "extensions": {"code": "DOWNSTREAM_SERVICE_ERROR", "serviceName": "b"}}
    ]  # fmt: skip
    assert (await cut.body("{ ps { must } }"))["data"] is None
    cut.down["b"] = SubgraphReply(data={"_entities": [{}]})
    assert "wrong number of entities" in (await cut.body("{ ps { name } }"))["errors"][0]["message"]


async def test_an_error_at_an_entity_has_the_path_of_every_place_that_waits(
    world, fed2: str
) -> None:
    def fail(parent: dict) -> object:
        raise ValueError("secret")

    cut = world({
        "a": (fed2 + 'type Query { ps: [P!]! } type P @key(fields: "id") { id: ID! }', {"Query.ps": lambda: [{"id": "1"}, {"id": "1"}]}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! name: String }', {"P": same, "P.name": fail}),
    })  # fmt: skip
    body = await cut.body("{ ps { name } }")
    assert body["data"] == {"ps": [{"name": None}, {"name": None}]}
    assert [e["path"] for e in body["errors"]] == [["ps", 0, "name"], ["ps", 1, "name"]]
    assert "secret" not in str(body)


async def test_introspection_is_answered_without_any_subgraph(world, fed2: str) -> None:
    cut = world({"a": (fed2 + "type Query { q: Int }", {"Query.q": lambda: 1})})
    data = await cut.data(
        "query($n: String!) { __typename __type(name: $n) { name fields { name } } }",
        {"n": "Query"},
    )
    assert data == {"__typename": "Query", "__type": {"name": "Query", "fields": [{"name": "q"}]}}
    assert cut.calls == []
    both = await cut.data("{ q __schema { queryType { name } } }")
    assert both == {"q": 1, "__schema": {"queryType": {"name": "Query"}}}


async def test_variables_reach_only_the_subgraphs_that_use_them(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { p(id: ID!): P } type P @key(fields: "id") { id: ID! }', {"Query.p": lambda id: {"id": id}}),
        "b": (fed2 + 'type P @key(fields: "id") { id: ID! top(firstMany: Int = 2): [Int!]! }', {"P": same, "P.top": lambda p, first_many: list(range(first_many))}),
    })  # fmt: skip
    query = "query($id: ID!, $n: Int) { p(id: $id) { a: top(firstMany: $n) b: top } }"
    assert await cut.data(query, {"id": 7, "n": 1}) == {"p": {"a": [0], "b": [0, 1]}}
    assert [operation.variables for _, operation in cut.calls] == [{"id": "7"}, {"n": 1}]
    assert cut.calls[0][1].root_fields[0].arguments == {"id": "7"}
