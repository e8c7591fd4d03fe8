"""The law of the room: any cut of a schema answers any query as the uncut schema does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from graphql import build_schema, graphql_sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIELDS = {
    "User": {
        "name": "String!",
        "email": "String",
        "orders": "[Order!]!",
        "best": "Product",
        "friend": "User",
    },
    "Order": {"total": "Float!", "user": "User!", "items": "[Product!]!", "note": "String"},
    "Product": {
        "title": "String!",
        "price": "Int!",
        "stock": "Int",
        "shipping": "Int",
        "related": "[Product]",
        "reviews": "[Review!]!",
    },
    "Review": {"body": "String", "author": "User!", "about": "Node", "things": "[Thing!]!"},
}
ROOTS = {
    "users": "[User!]!", "user(id: ID!)": "User", "products": "[Product!]!", "orders": "[Order]",
    "nodes": "[Node!]!", "search": "[Thing!]!",
}  # fmt: skip
ABSTRACT = "interface Node { id: ID! }\nunion Thing = User | Product | Order\n"
SERVICES = ("a", "b", "c")


def ref(kind: str, index: int) -> dict:
    return {"__typename": kind, "id": str(index % 3)}


def value(kind: str, field: str, index: int) -> object:
    """Data is a function of its place, so that nobody has to keep it."""
    type_text = {**FIELDS[kind]}[field]
    name = type_text.strip("[]!")
    if field == "shipping":
        return shipping(value("Product", "price", index))
    seed = index * 7 + len(field) * 3 + len(kind)
    if not type_text.endswith("!") and seed % 4 == 0:
        return None
    if name in ("Node", "Thing"):
        kinds = ["User", "Product", "Order"]
        if type_text.startswith("["):
            return [ref(kinds[(seed + i) % 3], seed + i) for i in range(seed % 3)]
        return ref(kinds[seed % 3], seed)
    if name in FIELDS:
        if type_text.startswith("["):
            return [ref(name, seed + i) for i in range(seed % 4)]
        return ref(name, seed)
    return {"String": f"{kind}.{field}.{index}", "Int": seed, "Float": seed / 4}[name]


def shipping(price: object) -> int:
    assert isinstance(price, int)
    return price * 2


def root_value(field: str, **arguments: str) -> object:
    return {
        "users": lambda: [ref("User", i) for i in range(3)],
        "user": lambda: ref("User", int(arguments["id"])) if arguments["id"].isdigit() else None,
        "products": lambda: [ref("Product", i) for i in range(2)],
        "orders": lambda: [ref("Order", 1), None, ref("Order", 2)],
        "nodes": lambda: [ref("Review", 0), ref("User", 1), ref("Order", 2)],
        "search": lambda: [ref("Product", 0), ref("User", 1), ref("User", 1)],
    }[field]()


def field_resolver(kind: str, field: str) -> Callable[..., object]:
    if field == "shipping":
        return lambda parent, representation: shipping(representation["price"])
    return lambda parent: value(kind, field, int(parent["id"]))


def root_resolver(field: str) -> Callable[..., object]:
    return lambda **arguments: root_value(field, **arguments)


@st.composite
def cuts(draw: st.DrawFn) -> dict[str, tuple[str, dict]]:
    """Give every field to some service; each service knows every type by its key."""
    owner = {(k, f): draw(st.sampled_from(SERVICES)) for k, fs in FIELDS.items() for f in fs}
    roots = {r: draw(st.sampled_from(SERVICES)) for r in ROOTS}
    shared = {(k, f) for k, f in owner if draw(st.integers(0, 5)) == 0}
    if owner["Product", "price"] == owner["Product", "shipping"]:
        owner["Product", "price"] = next(x for x in SERVICES if x != owner["Product", "price"])
    shared -= {("Product", "price"), ("Product", "shipping")}
    services = {}
    for service in SERVICES:
        sdl, resolvers = [ABSTRACT], {}
        for kind, fields in FIELDS.items():
            mine = [f for f in fields if owner[kind, f] == service or (kind, f) in shared]
            lines = [f"{f}: {fields[f]} @shareable" for f in mine]
            if "shipping" in mine:
                # Whoever ships asks another for the price, so nobody may answer both.
                lines = [line for line in lines if not line.startswith(("shipping", "price"))]
                lines += [
                    'shipping: Int @shareable @requires(fields: "price")',
                    "price: Int! @external",
                ]
            sdl.append(
                f'type {kind} implements Node @key(fields: "id") {{ id: ID! {" ".join(lines)} }}'
            )
            for field in mine:
                resolvers[f"{kind}.{field}"] = field_resolver(kind, field)
            resolvers[kind] = lambda representation: {
                "__typename": representation["__typename"], "id": representation["id"]
            }  # fmt: skip
        mine = [r for r in ROOTS if roots[r] == service]
        if mine:
            sdl.append("type Query { " + " ".join(f"{r}: {ROOTS[r]}" for r in mine) + " }")
            for root in mine:
                name = root.partition("(")[0]
                resolvers[f"Query.{name}"] = root_resolver(name)
        services[service] = ("\n".join(sdl), resolvers)
    return services


@st.composite
def selections(draw: st.DrawFn, type_name: str, depth: int) -> str:
    if type_name in ("Node", "Thing"):
        parts = [draw(st.sampled_from(["__typename", "kind: __typename"]))]
        if type_name == "Node" and draw(st.booleans()):
            parts.append("id")
        kinds = draw(st.lists(st.sampled_from(["User", "Order", "Product"]), unique=True))
        parts += [f"... on {kind} {draw(selections(kind, depth - 1))}" for kind in kinds]
        return "{ " + " ".join(parts) + " }"
    fields = {"id": "ID!", "__typename": "String!", **FIELDS[type_name]}
    parts = []
    for field in draw(
        st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=4, unique=True)
    ):
        target = fields[field].strip("[]!")
        alias = draw(st.sampled_from(["", "", f"{field}X: "]))
        if target in FIELDS or target in ("Node", "Thing"):
            if depth > 0:
                parts.append(f"{alias}{field} {draw(selections(target, depth - 1))}")
        else:
            parts.append(f"{alias}{field}")
    return "{ " + (" ".join(parts) or "id") + " }"


@st.composite
def queries(draw: st.DrawFn) -> str:
    chosen = draw(st.lists(st.sampled_from(sorted(ROOTS)), min_size=1, max_size=2, unique=True))
    parts = []
    for root in chosen:
        call = root.replace("id: ID!", f'id: "{draw(st.sampled_from(["0", "1", "x"]))}"')
        parts.append(f"{call} {draw(selections(ROOTS[root].strip('[]!'), 3))}")
    return "{ " + " ".join(parts) + " }"


def uncut() -> object:
    sdl = [ABSTRACT]
    for kind, fields in FIELDS.items():
        inner = " ".join(f"{f}: {t}" for f, t in fields.items())
        sdl.append(f"type {kind} implements Node {{ id: ID! {inner} }}")
    sdl.append("type Query { " + " ".join(f"{r}: {t}" for r, t in ROOTS.items()) + " }")
    schema = build_schema("\n".join(sdl))
    for kind, fields in FIELDS.items():
        for field in fields:
            schema.type_map[kind].fields[field].resolve = lambda source, _info, k=kind, f=field: (
                value(k, f, int(source["id"]))
            )
    for root in ROOTS:
        name = root.partition("(")[0]
        schema.query_type.fields[name].resolve = lambda _s, _i, n=name, **a: root_value(n, **a)
    return schema


UNCUT = uncut()


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(services=cuts(), query=queries())
def test_any_cut_answers_as_the_uncut_schema_does(
    world, fed2: str, services: dict, query: str
) -> None:
    expected = graphql_sync(UNCUT, query)
    assert not expected.errors, expected.errors
    cut = world({name: (fed2 + sdl, resolvers) for name, (sdl, resolvers) in services.items()})
    body = asyncio.run(cut.body(query))
    assert body == {"data": expected.data}, str(cut.engine.plan(query))
