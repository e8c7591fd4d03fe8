"""Requests that no decent client sends, against the whole gateway, and the status of each. (Long: it is a table.)

Everything here is well-formed HTTP (what is not stands in `tests/server/test_server_hostile.py`): the bodies,
paths, queries, credentials and fields are what is wrong, huge, ambiguous or malicious.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

DEEP = 100_000


class Hostile(msgspec.Struct, frozen=True):
    """One request: bytes as they are sent."""

    name: str
    raw: bytes
    status: int


def request(
    method: str, target: str, body: bytes | None = None, *, fields: tuple[str, ...] = ()
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
        if not any(field.lower().startswith("content-type") for field in fields):
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def post(target: str, body: object, *fields: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", target, content, fields=fields)


def get(target: str, *fields: str) -> bytes:
    return request("GET", target, fields=fields)


USERS = "/api/v1/users/"
# Fields that no method asked for: they are nobody's, and the user is made without them.
IGNORED_FIELDS = {
    "an unknown field": b'{"id": "new-0", "name": "x", "isAdmin": true}',
    "a prototype": b'{"id": "new-1", "name": "x", "__proto__": {"x": 1}}',
    "a field of Python": b'{"id": "new-2", "name": "x", "__class__": "os"}',
}
# What is no JSON object for a user, by name.
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "half an object": b'{"id": "x"',
    "a trailing comma": b'{"id": "x",}',
    "single quotes": b"{'id': 'x'}",
    "a comment": b'{"id": "x" /* y */}',
    "two objects": b"{}{}",
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": -Infinity}',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a string": b'"x"',
    "an array": b"[]",
    "an empty object": b"{}",
    "the wrong types": b'{"id": 1, "name": true}',
    "a nested object for an id": b'{"id": {"$ne": null}, "name": "x"}',
    "an array for an id": b'{"id": ["a"], "name": "x"}',
    "an id with a path": b'{"id": "../../etc/passwd", "name": "x"}',
    "an id with a NUL": b'{"id": "a\\u0000b", "name": "x"}',
    "a lone surrogate": b'{"id": "a", "name": "\\ud800"}',
    "a lone surrogate in a key": b'{"id": "a", "name": "x", "\\udfff": 1}',
    "bytes that are not UTF-8": b'{"id": "\xff\xfe", "name": "x"}',
    "an overlong slash": b'{"id": "\xc0\xaf", "name": "x"}',
    "a byte order mark": b'\xef\xbb\xbf{"id": "a", "name": "x"}',
    "UTF-16": '{"id": "a", "name": "x"}'.encode("utf-16"),
    "a raw newline in a string": b'{"id": "a\nb", "name": "x"}',
    "a bad escape": b'{"id": "\\x41", "name": "x"}',
    "half an escape": b'{"id": "\\u00", "name": "x"}',
    "an integer of a thousand digits": b'{"id": ' + b"9" * 1000 + b"}",
    "an exponent beyond floats": b'{"id": 1e999}',
    "a name of a megabyte": b'{"id": "a", "name": "' + b"x" * 1_000_000 + b'"}',
    "arrays in arrays": b"[" * DEEP + b"]" * DEEP,
    "arrays that never end": b"[" * DEEP,
    "objects in objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a deep value beside good ones": b'{"id": "a", "name": "x", "tier": '
    + b"[" * 900
    + b"]" * 900
    + b"}",
    "ten thousand fields": json.dumps({f"k{n}": n for n in range(10_000)}).encode(),
}


def bodies() -> Iterator[Hostile]:
    for name, body in BODIES.items():
        yield Hostile(f"body: {name}", post(USERS, body), 400)
    for name, body in IGNORED_FIELDS.items():
        yield Hostile(f"body: {name}", post(USERS, body), 201)


def content_types() -> Iterator[Hostile]:
    good = b'{"id": "zed", "name": "x"}'
    for value in (
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "*/*",
        "/",
        ";",
        "a" * 4000,
        "application/json, text/plain",
    ):
        yield Hostile(
            f"content type {value[:40]}", post(USERS, good, f"Content-Type: {value}"), 415
        )
    # JSON is UTF-8 whatever is claimed (RFC 8259 §8.1, §11).
    for number, charset in enumerate(("nosuch", "utf-16", "rot13", '"')):
        made = b'{"id": "zed-%d", "name": "x"}' % number
        field = f"Content-Type: application/json; charset={charset}"
        yield Hostile(f"charset {charset}", post(USERS, made, field), 201)
    for coding in ("gzip", "br", "deflate", "zstd", "gzip, gzip", "identity, gzip", "x", "chunked"):
        yield Hostile(
            f"content coding {coding}", post(USERS, good, f"Content-Encoding: {coding}"), 415
        )


def paths() -> Iterator[Hostile]:
    for path in (
        "%",
        "%2",
        "%zz",
        "%00",
        "alice%00",
        "%c0%af",
        "%ff",
        "%ed%a0%80",
        "..",
        "../orders/1",
        "%2e%2e/orders",
        "%2e%2e%2forders",
        "..%2f..%2fetc%2fpasswd",
        "a%2fb",
        "a%5cb",
        "a\\b",
        ".",
        "./alice",
        "%2e",
        "alice;x=1/..",
        "%0d%0aX-Injected:%20yes",
        "%0a",
        "%7f",
        "%1b[31m",
    ):
        yield Hostile(f"path {path}", get(USERS + path), 400)
    for path in (
        "nobody",
        "alice%20",
        "ALICE",
        "alice%2520",
        "%e2%80%ae",
        "__init__",
        "__class__",
        "constructor",
        "toString",
        "get",
        "schema",
        "a" * 3000,
        "'%20OR%20'1'='1",
        "1;DROP%20TABLE%20users",
        "$%7Bjndi:ldap:x%7D",
        "%7B%7B7*7%7D%7D",
        "%3Cscript%3E",
        "alice/extra",
        "//alice",
        "alice//",
        "alice.json",
        "%F0%9F%98%80",
        "0",
        "-1",
        "null",
    ):
        yield Hostile(f"path {path[:40]}", get(USERS + path), 404)
    yield Hostile("path alice/", get(f"{USERS}alice/"), 200)
    for target in (
        "/nope",
        "/api",
        "/api/v9/users/alice",
        "/.env",
        "/.git/config",
        "/data/",
        "/wp-admin.php",
    ):
        yield Hostile(f"target {target}", get(target), 404)
    yield Hostile("a path of 8 KiB and more", get("/" + "a" * 9000), 414)


def queries() -> Iterator[Hostile]:
    for query in (
        "limit=abc",
        "limit=-1",
        "limit=0",
        "limit=1e3",
        "limit=99999999999999999999999",
        "limit=NaN",
        "limit=1&limit=2",
        "limit=",
        "limit=%00",
        "limit=0x10",
        "limit=1_0",
        "limit=%D9%A1",
        "limit=1.5",
        "limit=%ff",
        "limit=%",
    ):
        yield Hostile(f"query {query}", get(f"/api/v1/orders/?{query}"), 400)
    for query in ("limit[]=1", "limit=5&unknown=1", "limit=5&__class__=x", "&&&", "=", "?"):
        yield Hostile(f"query {query}", get(f"/api/v1/orders/?{query}"), 200)


def methods() -> Iterator[Hostile]:
    for method in ("DELETE", "PATCH", "PUT"):
        yield Hostile(f"{method} of a collection", request(method, USERS), 405)
    yield Hostile("POST to an item", post(f"{USERS}alice", {}), 405)
    yield Hostile("GET of a POST endpoint", get("/api/aggregate"), 405)
    yield Hostile("DELETE of a page", request("DELETE", "/health"), 405)
    for path, status in (
        (f"{USERS}alice", 200),
        ("/api/v1/analytics/events", 405),
        ("/health", 200),
        ("/nope", 404),
        ("/", 200),
        ("/graphql?query=%7B__typename%7D", 200),
    ):
        yield Hostile(f"GET of {path} with a body", request("GET", path, b'{"a": 1}'), status)
        chunked = ("Transfer-Encoding: chunked", "Content-Type: application/json")
        raw = request("GET", path, fields=chunked) + b"3\r\n[1]\r\n0\r\n\r\n"
        yield Hostile(f"GET of {path} with a chunked body", raw, status)
    for override in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        yield Hostile(f"{override} is no method", get(f"{USERS}alice", f"{override}: DELETE"), 200)


AGGREGATES: dict[str, object] = {
    "nothing": {},
    "no list": {"calls": {}},
    "null": {"calls": None},
    "empty": {"calls": []},
    "no service": {"calls": [{"method": "get"}]},
    "no method": {"calls": [{"service": "users"}]},
    "a number for a service": {"calls": [{"service": 1, "method": "get"}]},
    "an object for a method": {"calls": [{"service": "users", "method": {}}]},
    "args that are no list": {"calls": [{"service": "users", "method": "get", "args": "alice"}]},
    "a call that is no object": {"calls": ["users.get"]},
    "an unknown field": {"calls": [{"service": "users", "method": "get", "args": ["a"], "x": 1}]},
    "a hundred calls": {"calls": [{"service": "users", "method": "list", "args": []}] * 100},
    "a list of lists": {"calls": [[[]]]},
    "an array": [],
    "a number": 7,
}


def aggregates() -> Iterator[Hostile]:
    for name, body in AGGREGATES.items():
        yield Hostile(f"aggregate: {name}", post("/api/aggregate", body), 400)
    yield Hostile("aggregate: no JSON", post("/api/aggregate", b"{"), 400)
    yield Hostile("aggregate: deep", post("/api/aggregate", b'{"calls":' + b"[" * DEEP), 400)
    for method in (
        "__init__",
        "__class__",
        "_handle",
        "fetch",
        "alarm",
        "ctx",
        "setup",
        "schema",
        "user",
        "nope",
    ):
        call = {"service": "users", "method": method, "args": []}
        yield Hostile(f"aggregate: method {method}", post("/api/aggregate", {"calls": [call]}), 404)
    services = {
        "nope": 404,
        "USER_DO": 404,
        "GATEWAY_DO": 404,
        "env": 404,
        "__class__": 400,
        "": 400,
    }
    for service, status in services.items():
        call = {"service": service, "method": "get", "args": ["alice"]}
        yield Hostile(
            f"aggregate: service {service}", post("/api/aggregate", {"calls": [call]}), status
        )


GRAPHQL: dict[str, bytes] = {
    "no query": b"{}",
    "a null query": b'{"query": null}',
    "a number": b'{"query": 1}',
    "an empty query": b'{"query": ""}',
    "no syntax": b'{"query": "{"}',
    "an unknown field": b'{"query": "{ nope }"}',
    "an unknown argument": b'{"query": "{ user(nope: 1) { id } }"}',
    "a missing selection": b'{"query": "{ user(id: \\"alice\\") }"}',
    "variables that are a list": b'{"query": "{ users { id } }", "variables": []}',
    "variables that are text": b'{"query": "{ users { id } }", "variables": "x"}',
    "a missing variable": b'{"query": "query ($id: ID!) { user(id: $id) { id } }"}',
    "a variable of another type": b'{"query": "query ($id: ID!) { user(id: $id) { id } }", "variables": {"id": {}}}',
    "null for a number": b'{"query": "{ recentOrders(first: null) { total } }"}',
    "null for a number, deeper": b'{"query": "{ users { orders(first: null) { total } } }"}',
    "an operation name of nobody": b'{"query": "query A { users { id } }", "operationName": "B"}',
    "two operations and no name": b'{"query": "query A { users { id } } query B { users { id } }"}',
    "a fragment cycle": b'{"query": "{ users { ...A } } fragment A on User { ...B } fragment B on User { ...A }"}',
    "a fragment of itself": b'{"query": "{ users { ...A } } fragment A on User { ...A }"}',
    "a fragment of nobody": b'{"query": "{ users { ...A } }"}',
    "the fields of federation": b'{"query": "{ _entities(representations: []) { __typename } }"}',
    "the schema of a service": b'{"query": "{ _service { sdl } }"}',
    "a thousand aliases": b'{"query": "{ '
    + b" ".join(b"a%d: users { id }" % n for n in range(1000))
    + b' }"}',
    "a thousand directives": b'{"query": "{ users ' + b"@skip(if: false) " * 1000 + b'{ id } }"}',
    "a deep selection": b'{"query": "' + b"{ users " * 1000 + b"}" * 1000 + b'"}',
    "deep lists": b'{"query": "{ user(id: ' + b"[" * 5000 + b"]" * 5000 + b') { id } }"}',
    "fragments that double": (
        b'{"query": "{ users { ...F0 } } '
        + b" ".join(
            b"fragment F%d on User { ...F%d ...F%d }" % (n, n + 1, n + 1) for n in range(40)
        )
        + b' fragment F40 on User { id }"}'
    ),
    "many tokens": b'{"query": "{ users { ' + b"id " * 20_000 + b'} }"}',
    "a batch of fifty": b"[" + b",".join([b'{"query": "{ users { id } }"}'] * 50) + b"]",
    "a batch in a batch": b'[[{"query": "{ users { id } }"}]]',
    "a NUL": b'{"query": "{ users { id\\u0000 } }"}',
    "a lone surrogate": b'{"query": "{ user(id: \\"\\ud800\\") { id } }"}',
    "an int beyond 32 bits": b'{"query": "{ users(tier: 99999999999999999999) { id } }"}',
    "a subscription": b'{"query": "subscription { users { id } }"}',
    "a mutation that nobody has": b'{"query": "mutation { dropAll }"}',
}


# A wrong envelope is a 400; what is wrong with a document is told in a 200 to clients of the older media type.
WRONG_ENVELOPES = (
    "no query",
    "a null query",
    "a number",
    "variables that are a list",
    "variables that are text",
    "a batch of fifty",
    "a batch in a batch",
    "a lone surrogate",
)
NEW_MEDIA_TYPE = "Accept: application/graphql-response+json"


def graphql() -> Iterator[Hostile]:
    for name, body in GRAPHQL.items():
        status = 400 if name in WRONG_ENVELOPES else 200
        yield Hostile(f"graphql: {name}", post("/graphql", body), status)
        yield Hostile(f"graphql, newer: {name}", post("/graphql", body, NEW_MEDIA_TYPE), 400)


def fields() -> Iterator[Hostile]:
    alice = f"{USERS}alice"
    for value in (
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer " + "a" * 9000,
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
        "bearer  ",
        "ApiKey",
        "ApiKey x",
        "ApiKey " + "k" * 5000,
        "Bearer \xff\xfe",
    ):
        yield Hostile(f"authorization {value[:30]!r}", get(alice, f"Authorization: {value}"), 401)
    for value in ("", "x", "key_x.y", "a" * 5000, "\xff"):
        yield Hostile(f"api key {value[:20]!r}", get(alice, f"X-API-Key: {value}"), 401)
    for field in (
        "Accept: nonsense",
        "Accept: " + "a/b," * 1000,
        "Accept: */*;q=abc",
        "Accept-Encoding: gzip;q=2, x, ,",
        "Accept-Language: " + "x" * 4000,
        'If-None-Match: "',
        "If-None-Match: " + '"x",' * 1000,
        "If-Modified-Since: yesterday",
        "If-Modified-Since: Thu, 99 Foo 9999 99:99:99 GMT",
        "Range: bytes=0-,-1",
        "Range: bytes=9999999999999999999999-0",
        "Range: " + "bytes=0-0," * 500,
        "Cookie: " + "a=b; " * 1000,
        "Cookie: \xff",
        "Forwarded: for=evil",
        "X-Forwarded-For: " + "1.1.1.1, " * 500,
        "X-Forwarded-For: '; DROP TABLE",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: javascript",
        "X-Tenant: other",
        "X-User: root",
        "X-Request-Id: \x80\xff",
        "X-Request-Id: " + "a" * 4000,
        "X-Gateway-Principal: admin",
        "traceparent: 00-zz-zz-01",
        "traceparent: " + "0" * 4000,
        'Cache-Control: max-age=-1, no-cache=", x="',
        "Cache-Control: max-age=99999999999999999999999",
        "Origin: null",
        "Origin: javascript:alert(1)",
        "Upgrade: h2c",
        "Upgrade: websocket",
        "Connection: close, host, authorization",
        "Connection: X-Forwarded-For",
        "TE: trailers, deflate;q=0.5",
        "Via: " + "1.1 x, " * 500,
        "Max-Forwards: -1",
        "Prefer: respond-async",
        "Early-Data: 1",
        "Idempotency-Key: " + "k" * 4000,
        "Content-Type: text/html; charset=utf-7",
        "X-A: ${jndi:ldap://x}",
        "X-A: () { :; }; echo x",
        "X-A: " + "%n" * 500,
    ):
        yield Hostile(f"field {field[:40]!r}", get(alice, field), 200)


REQUESTS = (
    *bodies(),
    *content_types(),
    *paths(),
    *queries(),
    *methods(),
    *aggregates(),
    *graphql(),
    *fields(),
)
