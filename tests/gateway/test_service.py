"""A service: its marks, its registry, its REST face and its reserved calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from gateway_fakes import FakeEnv, FakeNamespace
from workers import Request

from dohost.gateway import Service, ServiceError, expose, resolves
from dohost.gateway.replies import render_tags


class Pet(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str


class PetService(Service):
    """Pets."""

    def setup(self) -> None:
        self.set_up = getattr(self, "set_up", 0) + 1
        self.pets = {"rex": Pet(id="rex", name="Rex")}

    @expose("GET /{id}", cache=30, tags=["pet:{id}"])
    def get(self, id: str) -> Pet | None:
        """Return one pet."""
        return self.pets.get(id)

    @expose("GET /count")
    def count(self) -> int:
        return len(self.pets)

    @expose("POST /", status=201, invalidates=["pet:{id}"])
    async def create(self, pet: Pet) -> Pet:
        if pet.id in self.pets:
            raise ServiceError(409, "pet-exists", "There is one already.")
        self.pets[pet.id] = pet
        return pet

    @expose("DELETE /{id}")
    def delete(self, id: str) -> None:
        del self.pets[id]

    @expose(safe=True)
    def whoami(self) -> list[str | None]:
        return [self.caller.tenant, self.caller.subject]

    @expose("GET /stream/all")
    async def stream(self) -> AsyncIterator[Pet]:
        for pet in self.pets.values():
            yield pet

    @resolves("Query.pet")
    def pet(self, id: str) -> Pet | None:
        return self.get(id)

    def hidden(self) -> str:
        return "secret"


def pets() -> PetService:
    service: PetService = FakeNamespace(PetService, FakeEnv()).object("main")
    return service


async def rest(method: str, path: str, body: object = None, **headers: str) -> tuple[int, object]:
    response = await pets().fetch(request(method, path, body, **headers))
    text = await response.text()
    return response.status, json.loads(text) if text else None


def request(method: str, path: str, body: object = None, **headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is None:
        return Request(f"http://pets{path}", method=method, headers=fields)
    text = body if isinstance(body, str) else json.dumps(body)
    fields.setdefault("content-type", "application/json")
    return Request(f"http://pets{path}", method=method, headers=fields, body=text)


async def test_an_exposed_method_answers_under_its_path() -> None:
    assert await rest("GET", "/rex") == (200, {"id": "rex", "name": "Rex"})
    assert await rest("POST", "/", {"id": "tom", "name": "Tom"}) == (
        201,
        {"id": "tom", "name": "Tom"},
    )
    assert await rest("DELETE", "/rex") == (204, None)


async def test_a_literal_segment_beats_a_parameter() -> None:
    assert await rest("GET", "/count") == (200, 1)


async def test_none_is_404_over_rest_and_null_in_a_call() -> None:
    status, problem = await rest("GET", "/nobody", x_forwarded_prefix="/api/v1/pets")
    assert status == 404
    assert isinstance(problem, dict)
    assert problem["instance"] == "/api/v1/pets/nobody"
    assert await pets().gateway_call("get", ["nobody"], {}) == {
        "ok": b"null",
        "ttl_s": 30,
        "tags": ["pet:nobody"],
    }


async def test_a_wrong_verb_is_405_with_the_right_ones() -> None:
    response = await pets().fetch(request("PATCH", "/rex"))
    assert response.status == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD"
    options = await pets().fetch(request("OPTIONS", "/rex"))
    assert (options.status, options.headers["allow"]) == (204, "DELETE, GET, HEAD")


async def test_head_is_get_without_a_body() -> None:
    response = await pets().fetch(request("HEAD", "/rex"))
    assert response.status == 200
    assert await response.bytes() == b""


async def test_cache_facts_become_standard_fields() -> None:
    response = await pets().fetch(request("GET", "/rex"))
    assert response.headers["cache-control"] == "max-age=30"
    assert response.headers["cache-groups"] == '"pet:rex"'
    made = await pets().fetch(request("POST", "/", {"id": "tom", "name": "Tom"}))
    assert made.headers["cache-group-invalidation"] == '"pet:tom"'


@pytest.mark.parametrize(
    "body", ["{", "[]", "1", '"x"', "[" * 5000, '{"id":"\\ud800","name":"x"}', '{"id":1}', "{}"]
)
async def test_a_bad_body_is_a_400_and_never_a_500(body: str) -> None:
    status, problem = await rest("POST", "/", body)
    assert status == 400
    assert isinstance(problem, dict)
    assert problem["status"] == 400


async def test_a_body_that_is_not_json_is_415() -> None:
    status, _ = await rest("POST", "/", "a=b", content_type="application/x-www-form-urlencoded")
    assert status == 415


async def test_a_deliberate_failure_keeps_its_status_and_code() -> None:
    status, problem = await rest("POST", "/", {"id": "rex", "name": "Rex"})
    assert status == 409
    assert isinstance(problem, dict)
    assert (problem["code"], problem["detail"]) == ("pet-exists", "There is one already.")


async def test_what_escapes_is_left_to_the_gateway() -> None:
    with pytest.raises(KeyError):
        await pets().fetch(request("DELETE", "/nobody"))


@pytest.mark.parametrize(
    "name", ["hidden", "nope", "__init__", "_prepare", "fetch", "gateway_call", "setup", "ctx", ""]
)
async def test_unknown_and_hidden_methods_are_one_answer(name: str) -> None:
    reply = await pets().gateway_call(name, [], {})
    assert reply == {
        "problem": {
            "status": 404,
            "code": "unknown-method",
            "detail": "PetService has no such method.",
        }
    }


async def test_the_caller_is_who_the_gateway_says() -> None:
    context = {"tenant": "acme", "subject": "ann", "scopes": ["a"]}
    assert await pets().gateway_call("whoami", [], context) == {"ok": b'["acme","ann"]'}
    assert await pets().gateway_call("whoami", [], {}) == {"ok": b'["anonymous",null]'}


async def test_setup_runs_once_before_the_first_call() -> None:
    service = pets()
    await service.gateway_call("get", ["rex"], {})
    await service.fetch(request("GET", "/rex"))
    assert service.set_up == 1


async def test_an_async_generator_streams_lines_or_events() -> None:
    lines = await pets().fetch(request("GET", "/stream/all"))
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert await lines.text() == '{"id":"rex","name":"Rex"}\n'
    events = await pets().fetch(request("GET", "/stream/all", accept="text/event-stream"))
    assert await events.text() == 'data: {"id":"rex","name":"Rex"}\n\n'


def test_the_description_has_methods_with_their_types() -> None:
    described = pets().gateway_describe()
    methods = {each["name"]: each for each in described["methods"]}  # type: ignore[attr-defined]  # plain data
    assert set(methods) == {"get", "count", "create", "delete", "whoami", "stream"}
    assert methods["get"]["params"]["required"] == ["id"]
    assert methods["get"]["is_safe"] is True
    assert methods["create"]["is_aggregatable"] is False
    assert methods["stream"]["is_aggregatable"] is False
    assert methods["get"]["summary"] == "Return one pet."
    assert pets().gateway_describe()["hash"] == described["hash"]


def test_private_and_reserved_names_can_not_be_exposed() -> None:
    for name in ("_secret", "fetch", "alarm", "gateway_call", "services"):
        with pytest.raises(TypeError, match="can't be exposed"):
            type("Bad", (Service,), {name: expose(lambda self: None)})


def test_two_methods_on_one_path_do_not_load() -> None:
    def one(self: object, id: str) -> None: ...
    def two(self: object, name: str) -> None: ...

    members = {"one": expose("GET /{id}")(one), "two": expose("GET /{name}")(two)}
    with pytest.raises(TypeError, match="both serve"):
        type("Twice", (Service,), members)


def test_overriding_without_the_mark_hides_a_method() -> None:
    class Quiet(PetService):
        def get(self, id: str) -> Pet | None:
            return None

    assert "get" not in Quiet.gateway_registry.methods
    assert "count" in Quiet.gateway_registry.methods


@pytest.mark.parametrize("route", ["FETCH /", "GET", "GET users", "/x"])
def test_a_malformed_route_does_not_load(route: str) -> None:
    with pytest.raises(TypeError, match="write it as"):
        expose(route)


def test_tags_find_members_in_arguments_bodies_and_results() -> None:
    pet = Pet(id="rex", name="Rex")
    assert render_tags(("pet:{id}",), {"pet": pet}, None) == ["pet:rex"]
    assert render_tags(("pet:{id}", "pets"), {}, {"id": 7}) == ["pet:7", "pets"]
    assert render_tags(("pet:{nope}",), {"id": "x"}, None) == []
