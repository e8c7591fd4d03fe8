"""Row H22 and the facets of section 3: objects inside an object."""

from __future__ import annotations

import pytest
from host_bench import Bench

from dohost.errors import JsException

CODE = """
class Child(DurableObject):
    count = 0

    async def increment(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    async def value(self):
        return await self.ctx.storage.get("value")

    def seen(self):
        self.count += 1
        return self.count

    def who(self):
        ctx_id = self.ctx.id
        return [str(ctx_id), getattr(ctx_id, "name", None), dict(self.ctx.props), type(self).__name__]

    async def set_alarm(self):
        await self.ctx.storage.setAlarm(4 * 10**12)

    async def alarm_time(self):
        await self.ctx.storage.deleteAlarm()
        return await self.ctx.storage.getAlarm()

    async def alarm(self):
        pass

    def fail(self):
        raise ValueError("bad thing")

    def end(self, reason):
        self.ctx.abort(reason)

    async def wait(self, future):
        import asyncio
        await asyncio.sleep(1000)

    async def forget_all(self):
        await self.ctx.storage.deleteAll()

    async def inner(self, name, method, *args):
        facet = self.ctx.facets.get(name, lambda: {"class": self.ctx.exports.Child})
        return await getattr(facet, method)(*args)

    async def descend(self, depth):
        if depth == 0:
            return "bottom"
        return await self.inner("below", "descend", depth - 1)

    async def fetch(self, request):
        return Response("child " + request.url)

class Plain(DurableObject):
    def hello(self):
        return "hello"

class Root(Child):  # (DurableObject)
    def child(self, name, **options):
        return self.ctx.facets.get(name, lambda: {"class": self.ctx.exports.Child, **options})

    async def call(self, name, method, *args):
        return await getattr(self.child(name), method)(*args)

    async def with_id(self, name, object_id):
        return await self.child(name, id=object_id).who()

    async def with_props(self):
        exports = self.ctx.exports
        plain = exports.Child(props={"a": 1})
        return await self.ctx.facets.get("props", lambda: {"class": plain}).who()

    async def requested(self):
        return await (await self.child("a").fetch("http://x/hey")).text()

    async def started_by(self, value, *, again=False):
        async def startup():
            if value == "raise":
                raise ValueError("no class today")
            return {"class": getattr(self.ctx.exports, value, value)}
        return await self.ctx.facets.get("made", startup).seen()

    def do(self, name, *args):
        return getattr(self.ctx.facets, name)(*args)

    async def abort_connected(self):
        stub = self.child("a")
        await stub.seen()
        self.ctx.facets.abort("a", RuntimeError("killed"))
        answers = []
        for each in (stub, self.child("a")):
            try:
                answers.append(await each.seen())
            except Exception as error:
                answers.append(str(error))
        return answers

    async def in_section(self):
        return await self.ctx.blockConcurrencyWhile(lambda: self.child("section").seen())

    async def passed(self):
        stub = self.child("a")
        return await self.env.ROOT.getByName("other").value(stub)

    async def store_stub(self):
        await self.ctx.storage.put("stub", self.child("a"))
"""


@pytest.fixture
async def root(bench: Bench):
    await bench.run(CODE)
    return bench.stub("r", class_name="Root")


async def test_H22_a_facet_has_no_alarm_and_its_root_has(root, bench: Bench) -> None:
    with pytest.raises(JsException, match=r"Facets currently cannot set alarms\."):
        await root.call("a", "set_alarm")
    assert await root.call("a", "alarm_time") is None
    await root.set_alarm()


async def test_facets_have_storage_of_their_own_that_lasts(root, bench: Bench) -> None:
    assert [await root.call(name, "increment") for name in ("a", "a", "b")] == [1, 2, 1]
    assert await root.increment() == 1
    assert await root.call("a", "inner", "deep", "increment") == 1
    await bench.restart(CODE)
    root = bench.stub("r", class_name="Root")
    assert [await root.call(name, "value") for name in ("a", "b", "c")] == [2, 1, None]
    assert await root.call("a", "inner", "deep", "value") == 1
    assert await root.value() == 1
    directory = bench.root / "data/v3/do/app-Root"
    ids = root.id.toString()
    names = {path.name.removeprefix(ids) for path in directory.iterdir()}
    assert {".sqlite", ".1.sqlite", ".2.sqlite", ".3.sqlite", ".facets"} <= names


async def test_who_a_facet_is(root) -> None:
    own = root.id.toString()
    assert await root.call("a", "who") == [own, "r", {}, "Child"]
    assert await root.with_id("b", "mine") == ["mine", None, {}, "Child"]
    assert await root.with_id("a", "mine") == [own, "r", {}, "Child"], "it runs already"
    assert await root.with_props() == [own, "r", {"a": 1}, "Child"]


async def test_requests_and_sections(root) -> None:
    assert await root.requested() == "child http://x/hey"
    assert await root.in_section() == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Facet name cannot be empty."),
        ("x" * 257, r"Facet name is too long \(max 256 characters\)\."),
        ("é" * 129, r"Facet name is too long \(max 256 characters\)\."),
        (5, "parameter 1 is not of type 'string'"),
    ],
)
async def test_names_have_limits(root, name: object, message: str) -> None:
    with pytest.raises(JsException, match=message):
        await root.call(name, "seen")
    with pytest.raises(JsException, match=message):
        await root.do("delete", name)
    assert await root.call("x" * 256, "seen") == 1


async def test_facets_nest_four_levels_deep(root) -> None:
    assert await root.descend(3) == "bottom"
    with pytest.raises(
        JsException,
        match="Facet nesting depth limit exceeded. The maximum depth including the root Durable "
        r"Object is 4\.",
    ):
        await root.descend(4)


async def test_a_failed_start_stays_until_the_facet_is_aborted(root) -> None:
    with pytest.raises(JsException, match="Incorrect type for the 'class' field"):
        await root.started_by("nonsense")
    with pytest.raises(JsException, match="Incorrect type for the 'class' field"):
        await root.started_by("Child")
    await root.do("abort", "made", "again")
    with pytest.raises(JsException, match="no class today"):
        await root.started_by("raise")
    await root.do("delete", "made")
    assert await root.started_by("Child") == 1


async def test_an_aborted_facet_keeps_its_storage(root) -> None:
    await root.call("a", "increment")
    assert await root.abort_connected() == ["Error: killed", 1]
    assert await root.call("a", "value") == 1
    with pytest.raises(JsException, match="own reason"):
        await root.call("a", "end", "own reason")
    assert await root.call("a", "seen") == 1
    with pytest.raises(JsException, match="bad thing"):
        await root.call("a", "fail")
    assert await root.call("a", "seen") == 2
    with pytest.raises(JsException, match="parameter 2 is not of type 'Value'"):
        await root.do("abort", "a")


async def test_a_deleted_facet_begins_empty_with_all_below_it(root, bench: Bench) -> None:
    await root.call("a", "increment")
    await root.call("a", "inner", "deep", "increment")
    await root.do("delete", "a")
    assert await root.call("a", "value") is None
    assert await root.call("a", "inner", "deep", "value") is None
    assert await root.call("a", "increment") == 1
    await root.do("delete", "never")
    await bench.restart(CODE)
    assert await bench.stub("r", class_name="Root").call("a", "value") == 1


async def test_delete_all_deletes_facets(root) -> None:
    await root.increment()
    await root.call("a", "increment")
    await root.call("a", "inner", "deep", "increment")
    await root.call("a", "forget_all")
    assert await root.call("a", "value") is None
    assert await root.call("a", "inner", "deep", "value") is None
    await root.call("a", "increment")
    await root.forget_all()
    assert await root.call("a", "value") is None
    assert await root.value() is None


async def test_a_clone_is_a_copy_with_all_below_it(root, bench: Bench) -> None:
    for _ in range(2):
        await root.call("a", "increment")
    await root.call("a", "inner", "deep", "increment")
    await root.call("b", "increment")
    await root.call("b", "inner", "other", "increment")
    await root.do("clone", "a", "b")
    assert await root.call("b", "value") == 2
    assert await root.call("b", "inner", "deep", "value") == 1
    assert await root.call("b", "inner", "other", "value") is None
    assert await root.call("b", "increment") == 3
    assert await root.call("a", "value") == 2
    await root.do("clone", "a", "a")
    assert await root.call("a", "value") == 2
    await root.do("clone", "nothing", "b")
    assert await root.call("b", "value") is None
    await root.do("clone", "a", "c")
    await bench.restart(CODE)
    root = bench.stub("r", class_name="Root")
    assert [await root.call(name, "value") for name in ("a", "b", "c")] == [2, None, 2]
    assert await root.call("c", "inner", "deep", "value") == 1


async def test_facets_end_with_their_object(root, bench: Bench) -> None:
    await root.call("a", "seen")
    await root.call("a", "inner", "deep", "seen")
    actor = bench.actor("r", class_name="Root")
    live = [*actor.family()]
    assert len(live) == 3
    assert actor.evict_if_idle()
    assert all(each.is_evicted for each in live)
    assert await root.call("a", "seen") == 1
    with pytest.raises(JsException, match="whole"):
        await root.end("whole")
    root = bench.stub("r", class_name="Root")
    assert await root.call("a", "seen") == 1


async def test_a_stub_of_a_facet_cannot_be_passed_on(root) -> None:
    message = r"Stubs pointing to Durable Object facets are not serializable\."
    with pytest.raises(JsException, match=message):
        await root.passed()
