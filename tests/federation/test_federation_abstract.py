"""Interfaces, unions and interface objects over several subgraphs, one small world each."""

from __future__ import annotations

from collections.abc import Mapping

from dohost.federation.contract import CompositionError, Subgraph
from dohost.federation.engine import Engine


def same(representation: Mapping[str, object]) -> Mapping[str, object]:
    return representation


async def test_provides_reaches_three_levels_deep(world, fed2: str) -> None:
    cut = world({
        "shop": (fed2 + 'type Query { shop: Shop @provides(fields: "shelf { box { name } }") } type Shop @key(fields: "id") { id: ID! shelf: Shelf @external } type Shelf @key(fields: "id") { id: ID! box: Box @external } type Box @key(fields: "id") { id: ID! name: String @external }', {"Query.shop": lambda: {"id": "1", "shelf": {"id": "2", "box": {"id": "3", "name": "here"}}}}),
        "stock": (fed2 + 'type Shop @key(fields: "id") { id: ID! shelf: Shelf @shareable } type Shelf @key(fields: "id") { id: ID! box: Box @shareable } type Box @key(fields: "id") { id: ID! name: String @shareable color: String }', {"Box": lambda r: {"name": "there", "color": "red"}}),
    })  # fmt: skip
    assert await cut.data("{ shop { shelf { box { name } } } }") == {
        "shop": {"shelf": {"box": {"name": "here"}}}
    }
    assert cut.services == ["shop"]
    assert await cut.data("{ shop { shelf { box { name color } } } }") == {
        "shop": {"shelf": {"box": {"name": "here", "color": "red"}}}
    }


async def test_provides_under_an_interface_saves_the_hop_for_the_named_type_only(
    world, fed2: str
) -> None:
    animals = "interface Animal { id: ID! name: String } "
    cut = world({
        "a": (fed2 + 'type Query { pets: [Animal] @provides(fields: "... on Dog { name }") } ' + animals + 'type Dog implements Animal @key(fields: "id") { id: ID! name: String @external } type Cat implements Animal @key(fields: "id") { id: ID! name: String @external }', {"Query.pets": lambda: [{"__typename": "Dog", "id": "1", "name": "Rex"}, {"__typename": "Cat", "id": "2"}]}),
        "b": (fed2 + animals + 'type Dog implements Animal @key(fields: "id") { id: ID! name: String @shareable } type Cat implements Animal @key(fields: "id") { id: ID! name: String }', {"Dog": lambda r: {"name": "not asked"}, "Cat": lambda r: {"name": "Tom"}}),
    })  # fmt: skip
    data = await cut.data("{ pets { id name } }")
    assert data == {"pets": [{"id": "1", "name": "Rex"}, {"id": "2", "name": "Tom"}]}
    assert cut.services == ["a", "b"]
    assert [r["__typename"] for r in cut.calls[1][1].representations or ()] == ["Cat"]


async def test_provides_under_a_union_saves_the_hop_for_the_named_member_only(
    world, fed2: str
) -> None:
    cut = world({
        "a": (fed2 + 'type Query { media: [Media] @provides(fields: "... on Book { title }") } union Media = Book | Movie type Book @key(fields: "id") { id: ID! title: String @external } type Movie @key(fields: "id") { id: ID! }', {"Query.media": lambda: [{"__typename": "Book", "id": "1", "title": "Dune"}, {"__typename": "Movie", "id": "2"}]}),
        "b": (fed2 + 'type Book @key(fields: "id") { id: ID! title: String @shareable } type Movie @key(fields: "id") { id: ID! title: String }', {"Book": lambda r: {"title": "not asked"}, "Movie": lambda r: {"title": "Alien"}}),
    })  # fmt: skip
    data = await cut.data("{ media { ... on Book { title } ... on Movie { title } } }")
    assert data == {"media": [{"title": "Dune"}, {"title": "Alien"}]}
    assert cut.services == ["a", "b"]


async def test_an_overridden_field_is_found_through_an_interface_of_its_old_owner(
    world, fed2: str
) -> None:
    post = "interface Post { id: ID! createdAt: String } "
    cut = world({
        "a": (fed2 + "type Query { posts: [Post] } " + post + 'type Image implements Post @key(fields: "id") { id: ID! createdAt: String } type Text implements Post @key(fields: "id") { id: ID! createdAt: String }', {"Query.posts": lambda: [{"__typename": "Image", "id": "1", "createdAt": "old"}, {"__typename": "Text", "id": "2", "createdAt": "text"}]}),
        "b": (fed2 + 'type Image @key(fields: "id") { id: ID! createdAt: String @override(from: "a") }', {"Image": lambda r: {"createdAt": "new"}}),
    })  # fmt: skip
    data = await cut.data("{ posts { id createdAt } }")
    assert data == {"posts": [{"id": "1", "createdAt": "new"}, {"id": "2", "createdAt": "text"}]}


async def test_a_shared_interface_root_answers_every_branch_from_one_subgraph(
    world, fed2: str
) -> None:
    node = "type Query { node(id: ID!): Node @shareable } interface Node { id: ID! } "
    cut = world({
        "a": (fed2 + node + 'type Account implements Node @key(fields: "id") { id: ID! username: String } type Chat implements Node @key(fields: "id") { id: ID! text: String @shareable }', {"Query.node": lambda id: {"__typename": "Account", "id": id, "username": "u" + id}}),
        "b": (fed2 + node + 'type Account implements Node @key(fields: "id") { id: ID! } type Chat implements Node @key(fields: "id") { id: ID! text: String @shareable }', {"Query.node": lambda id: {"__typename": "Account", "id": id}}),
    })  # fmt: skip
    data = await cut.data(
        '{ node(id: "1") { __typename ... on Account { username } ... on Chat { text } } }'
    )
    assert data == {"node": {"__typename": "Account", "username": "u1"}}
    assert cut.services == ["a"]
    no_match = await cut.data('{ node(id: "1") { ... on Chat { text } } }')
    assert no_match == {"node": {}}


async def test_each_part_of_a_value_type_is_fetched_through_the_parent(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Product @key(fields: "id pid") { id: ID! pid: ID! category: Category @shareable } type Category { details: String }', {"Product": lambda r: {"category": {"details": "d" + r["pid"]}}}),
        "b": (fed2 + 'type Product @key(fields: "id") { id: ID! pid: ID! @shareable category: Category @shareable } type Category @key(fields: "id") { id: ID! }', {"Product": lambda r: {"pid": "p" + r["id"], "category": {"id": "c" + r["id"]}}}),
        "c": (fed2 + 'type Category @key(fields: "id") { id: ID! name: String }', {"Category": lambda r: {"name": "n" + r["id"]}}),
        "d": (fed2 + 'type Query { product: Product } type Product @key(fields: "id") { id: ID! }', {"Query.product": lambda: {"id": "1"}}),
    })  # fmt: skip
    data = await cut.data("{ product { category { id name details } } }")
    assert data == {"product": {"category": {"id": "c1", "name": "nc1", "details": "dp1"}}}


async def test_an_interface_object_requires_a_field_of_the_real_types(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + 'type Query { users: [User] } interface User @key(fields: "id") { id: ID! name: String } type Admin implements User @key(fields: "id") { id: ID! name: String } type Guest implements User @key(fields: "id") { id: ID! name: String }', {"Query.users": lambda: [{"__typename": "Admin", "id": "1", "name": "Ann"}, {"__typename": "Guest", "id": "2", "name": "Gus"}]}),
        "b": (fed2 + 'type Query { anyone: User } type User @key(fields: "id") @interfaceObject { id: ID! name: String @external login: String @requires(fields: "name") }', {"Query.anyone": lambda: {"id": "1"}, "User": lambda r: {"login": r["name"].lower() + r["id"]}}),
        "c": (fed2 + 'interface User @key(fields: "id") { id: ID! } type Admin implements User @key(fields: "id") { id: ID! level: Int } type Guest implements User @key(fields: "id") { id: ID! }', {"Admin": lambda r: {"level": 9}}),
    })  # fmt: skip
    data = await cut.data("{ users { id login __typename } }")
    assert data == {
        "users": [
            {"id": "1", "login": "ann1", "__typename": "Admin"},
            {"id": "2", "login": "gus2", "__typename": "Guest"},
        ]
    }
    data = await cut.data("{ users { ... on Admin { login level } } }")
    assert data == {"users": [{"login": "ann1", "level": 9}, {}]}


def test_an_interface_object_whose_interface_can_not_be_entered_is_unsatisfiable(
    fed2: str,
) -> None:
    composed = Engine.compose([
        Subgraph(name="a", sdl=fed2 + 'type Query { a: Node } type Node @key(fields: "id", resolvable: false) @interfaceObject { id: ID! field: String }'),
        Subgraph(name="b", sdl=fed2 + 'type Query { b: Node } interface Node @key(fields: "id", resolvable: false) { id: ID! } type Real implements Node @key(fields: "id", resolvable: false) { id: ID! other: Int }'),
    ])  # fmt: skip
    assert isinstance(composed, list)
    assert {type(error) for error in composed} == {CompositionError}
    assert {error.code for error in composed} == {"SATISFIABILITY_ERROR"}
