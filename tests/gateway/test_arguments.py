"""Binding what a client sent to the parameters of a method."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec
import pytest

from dohost.gateway.arguments import HttpArguments, Signature, camel, snake
from dohost.gateway.service_error import ServiceError

Small = Annotated[int, msgspec.Meta(le=100)]


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    user_name: str
    age: int = 0


class Methods:
    def get(self, id: str) -> None: ...
    def filtered(self, user_id: str | None = None, limit: Small = 20) -> None: ...
    def create(self, user: NewUser) -> None: ...
    def rename(self, id: str, user: NewUser) -> None: ...
    def tagged(self, tags: list[str], count: int = 1) -> None: ...
    def members(self, first_name: str, age: int) -> None: ...
    def measured(self, at: float, others: tuple[float, ...] = ()) -> None: ...
    def pay(self, amount: Decimal) -> None: ...
    def list(self) -> list[str]: ...


def bind(name: str, values: object) -> dict[str, object]:
    return Signature(getattr(Methods, name)).bind(values)  # type: ignore[arg-type]  # also wrong values are tried


def bind_http(
    name: str,
    *,
    path: dict[str, str] | None = None,
    query: list[tuple[str, str]] | None = None,
    body: object = msgspec.UNSET,
) -> dict[str, object]:
    sent = HttpArguments(path=path or {}, query=query or [], body=body)
    return Signature(getattr(Methods, name)).bind_http(sent)


def test_a_list_binds_by_position_and_an_object_by_name() -> None:
    assert bind("get", ["alice"]) == {"id": "alice"}
    assert bind("get", {"id": "alice"}) == {"id": "alice"}
    assert bind("filtered", ["alice", 3]) == {"user_id": "alice", "limit": 3}


def test_camel_case_in_the_request_is_snake_case_in_python() -> None:
    assert bind("filtered", {"userId": "alice"}) == {"user_id": "alice"}
    assert bind_http("filtered", query=[("userId", "bob")]) == {"user_id": "bob"}
    assert bind("create", [{"userName": "A"}]) == {"user": NewUser(user_name="A")}


def test_a_positional_object_binds_to_a_struct_or_to_named_filters() -> None:
    assert bind("filtered", [{"userId": "alice", "limit": 2}]) == {"user_id": "alice", "limit": 2}
    assert bind("create", [{"user_name": "A", "age": 3}]) == {"user": NewUser(user_name="A", age=3)}
    assert bind("create", {"user_name": "A"}) == {"user": NewUser(user_name="A")}


@pytest.mark.parametrize(
    ("name", "values", "pointer"),
    [
        ("get", [1], "/0"),
        ("get", [["a"]], "/0"),
        ("get", [{"id": "a"}], "/0"),
        ("get", ["a", "b"], ""),
        ("get", {"nope": 1, "id": "a"}, "/nope"),
        ("get", {"a/b~c": 1}, "/a~1b~0c"),
        ("filtered", ["alice", 101], "/1"),
        ("filtered", ["alice", 10**400], "/1"),
        ("filtered", [{"limit": "x"}], "/0/limit"),
        ("filtered", {"userId": "a", "user_id": "b"}, "/user_id"),
        ("create", [{"user_name": "A", "age": "old"}], "/0/age"),
        ("tagged", [["a", 1]], "/0/1"),
    ],
)
def test_a_mismatch_is_a_400_with_a_json_pointer(name: str, values: object, pointer: str) -> None:
    with pytest.raises(ServiceError) as raised:
        bind(name, values)
    assert (raised.value.status, raised.value.code) == (400, "invalid-arguments")
    assert raised.value.problem.pointer == pointer


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ServiceError) as raised:
        bind("get", [])
    assert raised.value.problem.parameter == "id"


def test_text_from_path_and_query_is_converted_leniently() -> None:
    assert bind_http("filtered", query=[("limit", "7")]) == {"limit": 7}
    assert bind_http("get", path={"id": "7"}) == {"id": "7"}
    assert bind_http("filtered", query=[("userId", "null")]) == {"user_id": "null"}


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_text_is_never_a_number_that_json_can_not_hold(text: str) -> None:
    for query in ([("at", text)], [("at", "1"), ("others", "2"), ("others", text)]):
        with pytest.raises(ServiceError, match=r"finite|out of range"):
            bind_http("measured", query=query)
    assert bind_http("measured", path={"at": "1.5"}, query=[("others", "2")]) == {
        "at": 1.5,
        "others": (2.0,),
    }


@pytest.mark.parametrize("text", ["nan", "sNaN", "-Infinity"])
def test_a_decimal_is_a_number_also_from_json(text: str) -> None:
    assert bind("pay", ["1e999"]) == {"amount": Decimal("1e999")}
    with pytest.raises(ServiceError, match="finite"):
        bind("pay", [text])
    with pytest.raises(ServiceError, match="finite"):
        bind_http("pay", query=[("amount", text)])


def test_a_member_of_a_struct_comes_once_whatever_its_spelling() -> None:
    for body in ({"userName": "a", "user_name": "b"}, {"user_name": "b", "userName": "a"}):
        with pytest.raises(ServiceError, match="two spellings"):
            bind_http("create", body=body)


def test_repeated_query_fields_are_for_lists_only() -> None:
    assert bind_http("tagged", query=[("tags", "a"), ("tags", "b")]) == {"tags": ["a", "b"]}
    with pytest.raises(ServiceError, match="more than once"):
        bind_http("filtered", query=[("limit", "1"), ("limit", "2")])


def test_unknown_query_fields_are_ignored_and_the_path_wins() -> None:
    sent = [("id", "other"), ("utm_source", "x")]
    assert bind_http("get", path={"id": "alice"}, query=sent) == {"id": "alice"}


def test_one_struct_parameter_takes_the_whole_body() -> None:
    assert bind_http("create", body={"userName": "A"}) == {"user": NewUser(user_name="A")}
    assert bind_http("rename", path={"id": "a"}, body={"user_name": "B"}) == {
        "id": "a",
        "user": NewUser(user_name="B"),
    }


def test_members_of_an_object_body_bind_by_name() -> None:
    assert bind_http("members", body={"firstName": "A", "age": 3}) == {"first_name": "A", "age": 3}
    with pytest.raises(ServiceError, match="must be a JSON object"):
        bind_http("members", body=[1])
    with pytest.raises(ServiceError) as raised:
        bind_http("members", body={"firstName": "A", "age": "3"})
    assert raised.value.problem.pointer == "/age"


def test_a_method_named_list_does_not_shadow_the_type() -> None:
    assert Signature(Methods.list).returns == list[str]


def test_hints_that_do_not_exist_at_run_time_are_a_clear_error() -> None:
    def broken(self: object, user: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="names 'Missing'"):
        Signature(broken)


def test_variadic_parameters_are_refused() -> None:
    def variadic(self: object, *names: str) -> None: ...

    with pytest.raises(TypeError, match="named parameters only"):
        Signature(variadic)


def test_camel_and_snake_are_inverse_on_ordinary_names() -> None:
    assert camel("user_id") == "userId"
    assert snake("userId") == "user_id"
    assert snake(camel("first_name_2nd")) == "first_name2nd"
