"""The description of the API says what requests are taken and how they are answered, as they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from deployment import Deployment

from dohost.gateway import Service, expose


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A text with a title."""

    title: str


class Notes(Service):
    """Takes bodies of every kind."""

    @expose("GET /{name}")
    def get(self, name: str) -> Note | None:
        return Note(name) if name == "known" else None

    @expose("POST /")
    def add(self, note: Note, place: int = 0) -> Note:
        return Note(f"{note.title}-{place}")

    @expose("POST /rename")
    def rename(self, old: str, new: str = "") -> None:
        pass

    @expose("POST /clear")
    def clear(self) -> None:
        pass


@pytest.fixture
def gateway() -> Deployment:
    config = {
        "services": {"notes": {"binding": "NOTES_DO", "scope": "shared"}},
        "routes": {"/notes/*": "notes"},
        "auth": {"anonymous": "all"},
    }
    return Deployment(config, {"NOTES_DO": Notes})


async def paths(gateway: Deployment) -> Any:
    return (await gateway.send("GET", "/openapi.json")).json["paths"]


async def test_a_result_that_may_be_missing_is_a_404(gateway: Deployment) -> None:
    responses = (await paths(gateway))["/notes/{name}"]["get"]["responses"]
    assert set(responses) == {"200", "404", "default"}
    assert responses["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Note"
    }
    assert (await gateway.send("GET", "/notes/known")).status == 200
    assert (await gateway.send("GET", "/notes/unknown")).status == 404


async def test_one_object_is_the_body_and_the_rest_is_in_the_query(gateway: Deployment) -> None:
    operation = (await paths(gateway))["/notes"]["post"]
    body = operation["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Note"}
    assert body["required"]
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [("place", "query")]
    made = await gateway.send("POST", "/notes/?place=2", {"title": "a"})
    assert made.json == {"title": "a-2"}


async def test_plain_values_are_members_of_an_object(gateway: Deployment) -> None:
    body = (await paths(gateway))["/notes/rename"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["old"], False)
    assert body["required"]
    assert (await gateway.send("POST", "/notes/rename", {"old": "a"})).status == 204
    assert (await gateway.send("POST", "/notes/rename", {"old": "a", "more": 1})).status == 400
    assert (await gateway.send("POST", "/notes/rename", "a")).status == 400


async def test_a_method_that_takes_nothing_asks_for_no_body(gateway: Deployment) -> None:
    operation = (await paths(gateway))["/notes/clear"]["post"]
    assert "requestBody" not in operation
    assert set(operation["responses"]) == {"204", "default"}


@pytest.mark.parametrize("name", ["a%00", "%C2%86", "a%5Cb", "a%2Fb"])
async def test_segments_outside_the_described_pattern_are_refused(
    gateway: Deployment, name: str
) -> None:
    (parameter,) = (await paths(gateway))["/notes/{name}"]["get"]["parameters"]
    assert "pattern" in parameter["schema"]
    assert (await gateway.send("GET", f"/notes/{name}")).status == 400
