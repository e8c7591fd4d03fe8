"""Tags of cached answers, through the whole gateway: a write drops what is tagged, whatever its name."""

from __future__ import annotations

from urllib.parse import quote

import http_sf
import pytest
from deployment import Deployment
from sample_things import new_key

from dohost.gateway import Service, expose
from dohost.gateway.cache_groups import GROUP_BYTES_MAX, plain_tag

CONFIG: dict[str, object] = {
    "services": {"notes": {"binding": "NOTE_DO", "scope": "shared"}},
    "routes": {
        "/notes/*": "notes",
        "/all": {
            "service": "notes",
            "rewrite": "/read/x",
            "cache": {"ttl": 60, "scope": "tenant", "tags": ["alle Ämter"]},
        },
    },
    "rate_limits": {"free": {"rpm": 6000, "burst": 1000}},
}


class Notes(Service):
    """Counts how often it is read."""

    def setup(self) -> None:
        self.seen = 0

    @expose("GET /read/{id}", cache=60, tags=["note:{id}"])
    def read(self, id: str) -> int:
        self.seen += 1
        return self.seen

    @expose("POST /write/{id}", aggregate=True, invalidates=["note:{id}"])
    def write(self, id: str) -> None: ...


@pytest.fixture
def gateway() -> Deployment:
    return Deployment(CONFIG, {"NOTE_DO": Notes})


NAMES = ["a", "é", "日本", 'a"b', "a, b", "x" * 300, "é" * 200]


@pytest.mark.parametrize("name", NAMES)
async def test_a_write_drops_an_answer_whatever_the_name_in_its_tag(
    gateway: Deployment, name: str
) -> None:
    path = f"/notes/read/{quote(name, safe='')}"
    for expected in (b"1", b"1"):
        assert (await gateway.send("GET", path)).body == expected
    written = await gateway.send("POST", path.replace("/read/", "/write/"))
    assert written.status == 204
    assert (await gateway.send("GET", path)).body == b"2"


@pytest.mark.parametrize("name", NAMES)
async def test_a_write_by_a_call_drops_it_as_well(gateway: Deployment, name: str) -> None:
    def calls(method: str) -> dict[str, object]:
        return {"calls": [{"service": "notes", "method": method, "args": [name]}]}

    for method, expected in (("read", 1), ("read", 1), ("write", None), ("read", 2)):
        reply = await gateway.send("POST", "/api/aggregate", calls(method))
        assert reply.json["notes"] == expected, reply.json


async def test_the_cache_is_cleared_by_the_tag_as_it_is_written(gateway: Deployment) -> None:
    key = await new_key(gateway)
    for expected in (b"1", b"1"):
        assert (await gateway.send("GET", "/all", headers=key)).body == expected
    await gateway.send("POST", "/api/cache/clear", {"tag": "alle Ämter"}, headers=key)
    assert (await gateway.send("GET", "/all", headers=key)).body == b"2"


@pytest.mark.parametrize("tag", [*NAMES, "a\\b", "a\nb", "\x7f", "\ud800", "x" * 256, "x" * 257])
def test_every_tag_fits_into_a_field(tag: str) -> None:
    plain = plain_tag(tag)
    assert len(plain) <= GROUP_BYTES_MAX
    assert http_sf.ser([(plain, {})])
    assert (plain == tag) == (tag.isascii() and tag.isprintable() and len(tag) <= 256)
