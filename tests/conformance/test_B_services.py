"""Calls and requests between workers of one process: entrypoints, props, `ctx.exports`."""

from __future__ import annotations

import asyncio

import pytest

from dohost.config import ServiceBinding
from dohost.errors import JsException

TARGET = """
from datetime import datetime

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(f"default {request.method} {await request.text()}")

    def add(self, a, b):
        return a + b

    def whoami(self):
        return "default"

class Named(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(f"named {self.ctx.props.tenant}")

    async def whoami(self, options=None):
        return ["named", self.ctx.props.tenant, self.ctx.props.to_py(), options]

    def fails(self):
        raise ValueError("bad thing")

    def spoil(self):
        self.ctx.props["tenant"] = "spoiled"

    def _private(self):
        return "never"

class NoFetch(WorkerEntrypoint):
    def ping(self):
        return "pong"
"""
CALLER = """
class Caller(DurableObject):
    async def call(self, binding, method, *args, **options):
        return await getattr(getattr(self.env, binding), method)(*args)

    async def keywords(self):
        return await self.env.NAMED.whoami(limit=2)

    async def get(self, binding):
        request = "http://x/"
        return await (await getattr(self.env, binding).fetch(request, method="POST", body="b")).text()

    async def after_writing(self):
        self.ctx.storage.put("n", 1)
        return await self.env.TARGET.whoami()
"""


async def run(bench):
    bindings = (
        ServiceBinding(binding="TARGET", service="target"),
        ServiceBinding(
            binding="NAMED", service="target", entrypoint="Named", props={"tenant": "acme"}
        ),
        ServiceBinding(binding="NO_FETCH", service="target", entrypoint="NoFetch"),
        ServiceBinding(binding="NOBODY", service="target", entrypoint="Nobody"),
    )
    await bench.run(bench.config(CALLER, services=bindings), bench.config(TARGET, name="target"))
    return bench.stub(class_name="Caller")


async def test_a_service_binding_calls_and_fetches_the_default_entrypoint(bench) -> None:
    stub = await run(bench)
    assert await stub.call("TARGET", "add", 1, 2) == 3
    assert await stub.get("TARGET") == "default POST b"


async def test_a_named_entrypoint_gets_the_props_of_its_binding(bench) -> None:
    stub = await run(bench)
    expected = ["named", "acme", {"tenant": "acme"}]
    assert await stub.call("NAMED", "whoami") == [*expected, None]
    assert await stub.keywords() == [*expected, {"limit": 2}]
    assert await stub.get("NAMED") == "named acme"


async def test_an_event_can_not_change_the_props_of_the_next(bench) -> None:
    stub = await run(bench)
    await stub.call("NAMED", "spoil")
    assert (await stub.call("NAMED", "whoami"))[1] == "acme"


async def test_errors_of_a_service_come_without_an_objects_id(bench) -> None:
    await run(bench)
    env = bench.host.generations["app"].env
    with pytest.raises(JsException, match="ValueError: bad thing") as raised:
        await env.NAMED.fails()
    assert raised.value.remote
    assert raised.value.durableObjectId is None
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("binding", "method", "message"),
    [
        ("NAMED", "_private", 'does not implement the method "_private"'),
        ("NAMED", "ctx", 'does not implement the method "ctx"'),
        ("NAMED", "nope", "Method nope does not exist"),
        ("NAMED", "constructor", "is a reserved method"),
        ("NOBODY", "ping", "exports no entrypoint 'Nobody'"),
    ],
)
async def test_what_can_not_be_called_is_said(bench, binding, method, message) -> None:
    await run(bench)
    call = getattr(getattr(bench.host.generations["app"].env, binding), method)()
    with pytest.raises(JsException, match=message):
        await call


async def test_a_call_to_a_service_leaves_after_the_writes_before_it(bench) -> None:
    stub = await run(bench)
    call = asyncio.ensure_future(stub.after_writing())
    actor = bench.actor(class_name="Caller")
    assert not actor.line.is_clean
    assert await call == "default"
    assert actor.line.is_clean


EXPORTS = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        exports = self.ctx.exports
        with_props = exports.Named(props={"tenant": "acme"})
        with_options = exports.Named({"props": {"tenant": "other"}})
        return Response.json([
            await exports.Named.whoami(),
            await with_props.whoami(),
            await with_options.whoami(),
            await (await with_props.fetch("http://x/")).text(),
            await exports.default.ping(),
            await exports.Counter.getByName("a").increment(),
            await self.env.COUNTER.getByName("a").through_exports(),
        ])

    def ping(self):
        return "pong"

class Named(WorkerEntrypoint):
    def whoami(self):
        return dict(self.ctx.props)

    async def fetch(self, request):
        return Response(self.ctx.props.tenant)

class Counter(DurableObject):
    count = 0

    def increment(self):
        self.count += 1
        return self.count

    async def through_exports(self):
        return await self.ctx.exports.Counter.getByName("a").increment()
"""


async def test_exports_reach_the_workers_own_classes_with_props_or_without(bench) -> None:
    await bench.run(EXPORTS)
    assert await (await bench.get()).json() == [
        {},
        {"tenant": "acme"},
        {"tenant": "other"},
        "acme",
        "pong",
        1,
        2,
    ]


async def test_exports_have_no_other_names(bench) -> None:
    await bench.run(EXPORTS)
    exports = bench.host.generations["app"].loopback
    with pytest.raises(AttributeError, match="Nope"):
        exports.Nope  # noqa: B018 - reading raises
    assert set(vars(exports)) == {"Counter", "Default", "Named", "default"}


async def test_a_stream_that_an_object_sends_is_produced_as_its_own_events(bench) -> None:
    await bench.run(
        """
        import asyncio
        from workers import ReadableStream, Request

        class Sender(DurableObject):
            async def send(self, how):
                seen = []
                async def produce():
                    seen.append(self.ctx.id.name if asyncio.current_task() else None)
                    seen.append(type(asyncio.current_task()).__name__)
                    yield b"body"
                body = ReadableStream.from_async_iterable(produce())
                target = (
                    self.ctx.exports.Receiver.getByName("b")
                    if how == "object"
                    else self.ctx.exports.Default
                )
                response = await target.fetch("http://x/", method="POST", body=body)
                return [await response.text(), seen]

        class Receiver(DurableObject):
            async def fetch(self, request):
                return Response(await request.text())

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response(await request.text())
        """
    )
    stub = bench.stub(class_name="Sender")
    for how in ("object", "worker"):
        assert await stub.send(how) == ["body", ["a", "Turn"]]
