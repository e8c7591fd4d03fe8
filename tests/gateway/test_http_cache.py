"""The cache before a service: what is asked again and how, what a write drops, and parts of what is kept."""

from __future__ import annotations

import pytest
from deployment import Deployment
from workers import Request, Response

from dohost.gateway import Service
from dohost.gateway.state import ObjectState

CONFIG: dict[str, object] = {
    "services": {"origin": {"binding": "ORIGIN_DO", "scope": "shared"}},
    "routes": {"/*": "origin"},
    "rate_limits": {"free": {"rpm": 6000, "burst": 1000}},
    "auth": {"anonymous": "all"},
}
Fields = dict[str, str]


class Origin(Service):
    """Gives the answers it was told to give, in turn, and keeps the requests."""

    def __init__(self, ctx: ObjectState, env: object) -> None:
        super().__init__(ctx, env)
        self.requests: list[Fields] = []
        self.answers: list[tuple[int, Fields, str | None]] = []

    async def fetch(self, request: Request) -> Response:
        self.requests.append(dict(request.headers.items()))
        status, fields, body = self.answers.pop(0)
        made = Response(body, status=min(status, 599), headers=fields)
        if status > 599:
            # As the network can give it, and no constructor.
            made = Response.from_host(status, made.headers, None, "")
        return made


@pytest.fixture
def gateway() -> Deployment:
    return Deployment(CONFIG, {"ORIGIN_DO": Origin})


def origin(gateway: Deployment) -> Origin:
    service = gateway.services["ORIGIN_DO"].object("main")
    assert isinstance(service, Origin)
    return service


def will_answer(gateway: Deployment, status: int, body: str | None = None, **fields: str) -> None:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    origin(gateway).answers.append((status, named, body))


async def test_a_stale_answer_is_asked_for_by_its_validators_and_served_when_it_still_holds(
    gateway: Deployment,
) -> None:
    will_answer(gateway, 200, "whole", etag='"1"', cache_control="max-age=5", x_kept="old")
    will_answer(gateway, 304, etag='"1"', cache_control="max-age=9", x_kept="new")
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    again = await gateway.send("GET", "/a")
    assert origin(gateway).requests[1]["if-none-match"] == '"1"'
    assert (again.status, again.body) == (200, b"whole")
    assert again.headers["x-kept"] == "new"
    assert again.headers["cache-status"] == "dohost;fwd=stale;fwd-status=304;stored"
    gateway.clock.advance(8)
    fresh = await gateway.send("GET", "/a")
    assert fresh.headers["cache-status"] == "dohost;hit;ttl=1"
    assert fresh.headers["age"] == "8"


async def test_what_no_longer_holds_is_replaced(gateway: Deployment) -> None:
    will_answer(gateway, 200, "old", etag='"1"', cache_control="max-age=5")
    will_answer(gateway, 200, "new", etag='"2"', cache_control="max-age=5")
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    assert (await gateway.send("GET", "/a")).body == b"new"
    assert (await gateway.send("GET", "/a")).body == b"new"
    assert len(origin(gateway).requests) == 2


async def test_the_clients_conditions_are_answered_here_and_not_sent_with_ours(
    gateway: Deployment,
) -> None:
    will_answer(gateway, 200, "whole", etag='"1"', cache_control="max-age=5")
    will_answer(gateway, 304, etag='"1"', cache_control="max-age=5")
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    shown = {
        "If-None-Match": '"of the client"',
        "If-Modified-Since": "Mon, 21 Sep 2026 14:14:20 GMT",
    }
    again = await gateway.send("GET", "/a", headers=shown)
    assert (again.status, again.body) == (200, b"whole")
    asked = origin(gateway).requests[1]
    assert asked["if-none-match"] == '"1"'
    assert "if-modified-since" not in asked
    matching = await gateway.send("GET", "/a", headers={"If-None-Match": '"1"'})
    assert (matching.status, matching.body) == (304, b"")


async def test_a_client_that_wants_no_kept_answer_gets_it_when_the_service_says_so(
    gateway: Deployment,
) -> None:
    will_answer(gateway, 200, "whole", etag='"1"', cache_control="max-age=50")
    will_answer(gateway, 304, etag='"1"')
    await gateway.send("GET", "/a")
    again = await gateway.send("GET", "/a", headers={"Cache-Control": "no-cache"})
    assert again.body == b"whole"
    assert again.headers["cache-status"] == "dohost;fwd=request;fwd-status=304;stored"


async def test_a_304_about_another_version_is_not_believed(gateway: Deployment) -> None:
    will_answer(gateway, 200, "one", etag='"1"', cache_control="max-age=5")
    will_answer(gateway, 304, etag='"2"')
    will_answer(gateway, 200, "two", etag='"2"', cache_control="max-age=5")
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    assert (await gateway.send("GET", "/a")).body == b"two"
    assert "if-none-match" not in origin(gateway).requests[2]


async def test_what_may_not_be_kept_any_more_is_served_once_and_dropped(
    gateway: Deployment,
) -> None:
    will_answer(gateway, 200, "whole", etag='"1"', cache_control="max-age=5")
    will_answer(gateway, 304, etag='"1"', cache_control="no-store")
    will_answer(gateway, 200, "new")
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    assert (await gateway.send("GET", "/a")).body == b"whole"
    assert (await gateway.send("GET", "/a")).body == b"new"
    assert "if-none-match" not in origin(gateway).requests[2]


async def test_a_failing_service_does_not_cost_what_is_kept(gateway: Deployment) -> None:
    fields = {"etag": '"1"', "cache_control": "max-age=5, stale-if-error=60"}
    will_answer(gateway, 200, "whole", **fields)
    will_answer(gateway, 503)
    will_answer(gateway, 304, **fields)
    await gateway.send("GET", "/a")
    gateway.clock.advance(6)
    assert (await gateway.send("GET", "/a")).body == b"whole"
    assert (await gateway.send("GET", "/a")).body == b"whole"
    assert origin(gateway).requests[2]["if-none-match"] == '"1"'


@pytest.mark.parametrize(
    ("field", "place", "is_dropped"),
    [
        ("location", "/b", True),
        ("content_location", "b", True),
        ("location", "http://localhost/b", True),
        ("location", "http://elsewhere.example/b", False),
        ("location", "http://[", False),
    ],
)
async def test_a_write_drops_what_its_answer_names(
    gateway: Deployment, field: str, place: str, is_dropped: bool
) -> None:
    for path in ("/a", "/b"):
        will_answer(gateway, 200, "old", cache_control="max-age=50")
        await gateway.send("GET", path)
    will_answer(gateway, 201, **{field: place})
    await gateway.send("POST", "/a", "{}")
    for path, dropped in (("/a", True), ("/b", is_dropped)):
        if dropped:
            will_answer(gateway, 200, "new", cache_control="max-age=50")
        assert (await gateway.send("GET", path)).body == (b"new" if dropped else b"old")


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=0-1", 206, b"01", "bytes 0-1/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99999999999", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-4", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=\u0661-", 200, b"0123456789", None),
    ],
)
async def test_parts_of_what_is_kept(
    gateway: Deployment, wanted: str, status: int, body: bytes, content_range: str | None
) -> None:
    will_answer(gateway, 200, "0123456789", cache_control="max-age=50")
    await gateway.send("GET", "/a")
    part = await gateway.send("GET", "/a", headers={"Range": wanted})
    assert (part.status, part.body) == (status, body)
    assert part.headers.get("content-range") == content_range
    assert len(origin(gateway).requests) == 1


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ('"1"', 206),
        ('"2"', 200),
        ('W/"1"', 200),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 206),
        ("Mon, 21 Sep 2026 14:14:21 GMT", 200),
    ],
)
async def test_a_part_is_of_the_version_that_the_client_has(
    gateway: Deployment, version: str, status: int
) -> None:
    modified = "Mon, 21 Sep 2026 14:14:20 GMT"
    will_answer(
        gateway, 200, "0123", etag='"1"', cache_control="max-age=50", last_modified=modified
    )
    await gateway.send("GET", "/a")
    asked = {"Range": "bytes=1-", "If-Range": version}
    assert (await gateway.send("GET", "/a", headers=asked)).status == status


async def test_a_status_that_http_does_not_have_is_a_bad_gateway(gateway: Deployment) -> None:
    will_answer(gateway, 999)
    reply = await gateway.send("GET", "/a")
    assert (reply.status, reply.json["title"]) == (502, "Upstream failed")
