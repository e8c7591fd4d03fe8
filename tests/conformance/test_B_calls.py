"""Section 12.B: calls on stubs, with plain values; references and streams have files of their own."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from workers import Blob, File, FormData, Headers, Request, Response, TransformStream
from workers.abort import AbortController
from workers.values import JsDict

from dohost.errors import AbortError, DataCloneError, JsException

CALLS = """
from datetime import datetime

class NotPassable:
    pass

class Plain:
    def __init__(self, ctx, env):
        self.ctx = ctx

    async def fetch(self, request):
        return Response(f"{request.method} {request.url}")

    def foo(self):
        return "never"

class Calls(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.count = 0
        self.data = {"list": [1]}
        self.instanceMethod = lambda: "never"

    @property
    def computed(self):
        return "never"

    async def foo(self):
        return 123

    def increment(self, by=1, *more):
        self.count += by
        return self.count

    async def increment_later(self, by=1):
        import asyncio
        await asyncio.sleep(0)
        self.count += by
        return self.count

    def get(self, a):
        return a + 10

    def put(self, a):
        return a + 11

    def delete(self):
        return 2

    def plain_class(self):
        return NotPassable()

    def echo(self, value):
        return value

    def kind(self, value, *more):
        return type(value).__name__

    def change(self, value):
        value["list"].append("changed")
        value["more"] = True
        return self.data

    def own(self):
        return self.data

    def fails(self):
        error = ValueError("the message")
        error.abc = 1
        raise error

    def __secret(self):
        return "never"
"""


async def run(bench):
    await bench.run(CALLS)
    return bench.stub(class_name="Calls")


async def test_B1_async_and_sync_methods_give_their_results(bench) -> None:
    stub = await run(bench)
    assert await stub.foo() == 123
    reply = stub.increment(5)
    assert asyncio.isfuture(reply)
    assert await reply == 5


@pytest.mark.parametrize("name", ["Plain", "Calls"])
async def test_B3_fetch_reaches_the_handler_if_there_is_one(bench, name: str) -> None:
    await bench.run(classes_of(bench))
    call = bench.stub(class_name=name).fetch("http://x/")
    if name == "Plain":
        assert await (await call).text() == "GET http://x/"
        return
    with pytest.raises(AbortError) as raised:
        await call
    assert raised.value.message == "Method fetch does not exist"


def classes_of(bench):
    """The program with its class without a base bound as well."""
    config = bench.config(CALLS)
    from dohost.config import DurableObjectBinding

    return type(config)(
        name=config.name,
        main=config.main,
        config_path=config.config_path,
        durable_objects=(
            *config.durable_objects,
            DurableObjectBinding(name="PLAIN", class_name="Plain"),
        ),
        classes={"Calls": "sqlite", "Plain": "sqlite"},
    )


async def test_B4_a_class_without_the_base_takes_no_calls(bench) -> None:
    await bench.run(classes_of(bench))
    with pytest.raises(TypeError) as raised:
        await bench.stub(class_name="Plain").foo()
    assert raised.value.message.startswith("The receiving Durable Object does not support RPC")


async def test_B5_memory_is_kept_between_calls(bench) -> None:
    stub = await run(bench)
    assert [await stub.increment(by) for by in (5, 2, 8)] == [5, 7, 15]


async def test_B6_calls_that_nobody_awaited_yet_are_delivered_in_order(bench) -> None:
    stub = await run(bench)
    await stub.increment(15)
    calls = [stub.increment(by) for by in (0, 4, 3)]
    assert await asyncio.gather(*calls) == [15, 19, 22]


async def test_B7_order_holds_with_streams_and_signals_among_the_arguments(bench) -> None:
    stub = await run(bench)
    calls = [
        stub.increment(1),
        stub.increment(1, TransformStream().readable),
        stub.increment(1, lambda: None),
        stub.increment(1, TransformStream().writable),
        stub.increment(1, AbortController().signal),
        stub.increment(1),
    ]
    assert await asyncio.gather(*calls) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["instanceMethod", "computed", "count"])
async def test_B8_attributes_and_properties_are_not_callable(bench, name: str) -> None:
    stub = await run(bench)
    with pytest.raises(TypeError) as raised:
        await getattr(stub, name)()
    assert raised.value.message == f'The RPC receiver does not implement the method "{name}".'


@pytest.mark.parametrize("name", ["env", "ctx"])
async def test_B10_env_and_ctx_are_not_callable(bench, name: str) -> None:
    stub = await run(bench)
    with pytest.raises(TypeError) as raised:
        await getattr(stub, name)()
    assert raised.value.message == f'The RPC receiver does not implement the method "{name}".'


@pytest.mark.parametrize(
    "name", ["__init__", "__reduce_ex__", "__class__", "toString", "_Calls__secret"]
)
async def test_B9_what_every_class_inherits_is_not_callable(bench, name: str) -> None:
    stub = await run(bench)
    # Python's own protocols look for dunders, so an attribute of that kind never becomes a call.
    with pytest.raises(TypeError, match=r"does not exist|does not implement the method"):
        await stub._call(name)


@pytest.mark.parametrize(
    "name", ["constructor", "webSocketMessage", "webSocketClose", "webSocketError", "alarm", "dup"]
)
async def test_B11_reserved_names_are_refused(bench, name: str) -> None:
    stub = await run(bench)
    with pytest.raises(TypeError) as raised:
        await getattr(stub, name)()
    assert raised.value.message == f"'{name}' is a reserved method and cannot be called over RPC."


async def test_B12_B13_B14_a_property_is_never_read_only_called(bench) -> None:
    stub = await run(bench)
    # Adapted: as in Cloudflare's Python SDK every attribute is something to call.
    assert callable(stub.count)
    with pytest.raises(TypeError):
        await stub.count


async def test_B15_get_put_and_delete_are_ordinary_names(bench) -> None:
    stub = await run(bench)
    assert [await stub.get(3), await stub.put(1), await stub.delete()] == [13, 12, 2]


async def test_B19_B20_B29_a_result_is_not_called_before_it_is_there(bench) -> None:
    stub = await run(bench)
    # Adapted: no pipelining, as in Cloudflare's Python SDK.
    reply = stub.own()
    with pytest.raises(AttributeError):
        reply.list  # noqa: B018 - reading raises
    with pytest.raises(AttributeError):
        stub.own.deeper.fn()
    assert (await reply).list == [1]


async def test_B21_an_instance_of_a_plain_class_is_refused(bench) -> None:
    stub = await run(bench)
    with pytest.raises(DataCloneError) as raised:
        await stub.plain_class()
    assert raised.value.message.startswith(
        "Proxy could not be serialized because it is not a valid"
    )
    assert raised.value.remote
    assert raised.value.__notes__ == [
        'Could not serialize object of type "NotPassable". This type does not support serialization.'
    ]


async def test_B23_platform_objects_make_the_round_trip(bench) -> None:
    stub = await run(bench)
    headers = Headers([("a", "1"), ("set-cookie", "x=1"), ("set-cookie", "y=2")])
    back = await stub.echo(headers)
    assert back is not headers
    assert back.get_all("set-cookie") == ["x=1", "y=2"]
    request = await stub.echo(
        Request("http://x/", method="POST", body="text", cf={"colo": "AMS"}, headers={"a": "b"})
    )
    assert (request.method, request.cf.colo, await request.text()) == ("POST", "AMS", "text")
    assert request.headers["a"] == "b"
    response = await stub.echo(Response("gone", 404, headers={"a": "b"}))
    assert (response.status, response.status_text) == (404, "Not Found")
    assert await response.text() == "gone"
    form = await stub.echo(FormData({"a": "1", "f": File(["x"], "n.txt")}))
    assert (form["a"], form["f"].name) == ("1", "n.txt")
    blob = await stub.echo({"blob": Blob("text", "text/css")})
    assert (blob.blob.content_type, await blob.blob.text()) == ("text/css", "text")
    assert await stub.echo({1, 2}) == {1, 2}


async def test_B23_a_body_that_was_passed_is_used_up_here(bench) -> None:
    stub = await run(bench)
    request = Request("http://x/", method="POST", body="text")
    await stub.kind(request)
    assert request.body_used
    with pytest.raises(OSError, match="Body already used"):
        await request.text()


@pytest.mark.parametrize("name", ["headers", "form"])
async def test_B23_what_is_passed_is_a_copy(bench, name: str) -> None:
    stub = await run(bench)
    value = {"headers": Headers({"a": "1"}), "form": FormData({"a": "1"})}[name]
    back = await stub.echo(value)
    back.set("a", "2")
    assert value.get("a") == "1"


async def test_B30_an_error_says_where_it_comes_from(bench) -> None:
    stub = await run(bench)
    with pytest.raises(JsException) as raised:
        await stub.fails()
    error = raised.value
    # Adapted: the class and attributes of a Python exception are lost, the message is kept.
    assert "ValueError: the message" in str(error)
    assert not hasattr(error, "abc")
    assert error.remote
    assert error.durableObjectId == stub.id.toString()
    assert not error.retryable
    assert not error.overloaded
    assert not error.durableObjectReset


async def test_B31_both_sides_of_the_stack_are_in_the_traceback(bench) -> None:
    stub = await run(bench)

    async def caller() -> None:
        await stub.fails()

    try:
        await caller()
    except JsException as error:
        text = "".join(traceback.format_exception(error))
    assert "in caller" in text
    assert "in fails" in text
    assert "raise error\nValueError: the message" in text


async def test_B33_arguments_beyond_32_mebibytes_are_refused(bench) -> None:
    stub = await run(bench)
    with pytest.raises(JsException, match="are limited to 32MiB, but the size of this value was"):
        await stub.kind("x" * (32 * 1024 * 1024))
    with pytest.raises(JsException, match="are limited to 32MiB, but the size of this value was"):
        await stub.kind(["x" * (17 * 1024 * 1024)] * 2)
    with pytest.raises(JsException, match="are limited to 32MiB, but the size of this value was"):
        await stub.kind("x" * (17 * 1024 * 1024), "x" * (17 * 1024 * 1024))
    assert await stub.kind("x" * (31 * 1024 * 1024)) == "str"


async def test_B34_neither_side_sees_the_others_changes(bench) -> None:
    stub = await run(bench)
    mine = {"list": [1]}
    theirs = await stub.change(mine)
    assert mine == {"list": [1]}
    theirs["list"].append(2)
    assert await stub.own() == {"list": [1]}
    assert type(theirs) is JsDict
