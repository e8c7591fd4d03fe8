"""The package's names, forms and blobs, entry points, context, and the shims of JavaScript."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest
import workers
from hypothesis import given
from hypothesis import strategies as st
from workers import Blob, DurableObject, File, FormData, Request, Response, WorkerEntrypoint
from workers.context import current_ctx, current_env, outbound
from workers.form_parser import parse_form
from workers.values import clone

from dohost.errors import JsException, JsTypeError

SHIMS = Path(workers.__file__).parent.parent / "shims"


def test_the_names_of_cloudflares_package_are_there() -> None:
    names = [
        "Blob",
        "File",
        "BlobEnding",
        "BlobValue",
        "Body",
        "Context",
        "FetchKwargs",
        "Headers",
        "JSBody",
        "RequestInitCfProperties",
        "FormData",
        "FormDataValue",
        "Request",
        "Response",
        "FetchResponse",
        "DurableObject",
        "WorkerEntrypoint",
        "WorkflowEntrypoint",
        "handler",
        "fetch",
        "import_from_javascript",
        "patch_env",
        "python_from_rpc",
        "python_to_rpc",
        "env",
        "wait_until",
        "waitUntil",
    ]
    assert set(names) <= set(workers.__all__)
    assert all(hasattr(workers, name) for name in workers.__all__)
    with pytest.raises(ImportError, match="cloudflare:email"):
        workers.import_from_javascript("cloudflare:email")


class TestForms:
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(exclude_characters="%\r\n", codec="utf-8")),
                st.text(st.characters(codec="utf-8")) | st.binary(),
            )
        )
    )
    def test_multipart_round_trips(self, fields: list[tuple[str, str | bytes]]) -> None:
        form = FormData()
        for name, value in fields:
            form.append(name, value if isinstance(value, str) else File([value], "f"))
        again = parse_form(*form.encode())
        assert [name for name, _ in again.items()] == [name for name, _ in fields]
        for (_, value), (_, read) in zip(fields, again.items(), strict=True):
            assert (read._content if isinstance(read, Blob) else read) == value

    def test_it_is_a_multimap_with_first_values(self) -> None:
        form = FormData({"a": ["1", "2"], "b": "3"})
        assert (form["a"], form.get("b"), form.get("c"), form.get_all("a")) == (
            "1",
            "3",
            None,
            ["1", "2"],
        )
        assert list(form.keys()) == ["a", "a", "b"]
        assert list(form.items()) == [("a", "1"), ("a", "2"), ("b", "3")]
        assert ("a" in form, "z" in form, len(form)) == (True, False, 3)
        form["a"] = "9"
        assert list(form.items()) == [("a", "9"), ("b", "3")]
        del form["a"]
        form.delete("nothing")
        with pytest.raises(KeyError):
            del form["a"]
        with pytest.raises(KeyError):
            form["a"]

    async def test_blobs_become_files(self) -> None:
        form = FormData()
        form.append("b", Blob("x", "text/css"))
        form.append("f", File("x", "old.txt"), "new.txt")
        assert (form["b"].name, form["b"].content_type) == ("blob", "text/css")
        assert form["f"].name == "new.txt"
        read = parse_form(*form.encode())
        assert (await read["b"].text(), read["b"].content_type) == ("x", "text/css")
        with pytest.raises(JsTypeError):
            form.append("t", "text", "name.txt")

    def test_urlencoded_forms_are_read(self) -> None:
        form = parse_form(b"a=1&a=%C3%A9+x&b=", "application/x-www-form-urlencoded; charset=utf-8")
        assert list(form.items()) == [("a", "1"), ("a", "é x"), ("b", "")]

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"", "text/plain"),
            (b"", "multipart/form-data"),
            (
                b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
                "multipart/form-data; boundary=b",
            ),
            (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
            (b"--bx\r\n--b--", "multipart/form-data; boundary=b"),
            (b"&" * 10_000, "application/x-www-form-urlencoded"),
        ],
    )
    def test_a_malformed_form_is_refused(self, body: bytes, kind: str) -> None:
        with pytest.raises(JsTypeError):
            parse_form(body, kind)


class TestBlobs:
    async def test_parts_are_joined(self) -> None:
        blob = Blob(["é", b"a", memoryview(b"b"), Blob("c")], "Text/Plain")
        assert (blob.size, blob.content_type, await blob.text()) == (5, "text/plain", "éabc")
        assert await blob.slice(2, 4, "x/y").bytes() == b"ab"
        assert blob.slice(-1).size == 1
        assert repr(blob) == "Blob(size=5, content_type='text/plain')"
        assert await Blob("a\r\nb\rc", endings="native").text() == "a\nb\nc"
        with pytest.raises(TypeError, match="Unsupported type in Blob: int"):
            Blob([1])

    def test_a_file_has_a_name(self) -> None:
        file = File(["x"], "a.txt", "text/plain", None, 5)
        assert (file.name, file.last_modified, file.type) == ("a.txt", 5, "text/plain")


class TestEntrypoints:
    def test_ctx_and_env_are_all_that_is_set(self) -> None:
        class Mixin:
            def hello(self) -> str:
                return str(self.env)

        class First(DurableObject):
            def __init__(self, state: object, bindings: object) -> None:
                super().__init__(state, bindings)
                self.first = self.ctx

        class Second(Mixin, First):
            def __init__(self, ctx: object, env: object) -> None:
                super().__init__(ctx, env)

        plain = WorkerEntrypoint("ctx", "env")
        assert vars(plain) == {"ctx": "ctx", "env": "env"}
        assert (Second("c", "e").first, Second("c", "e").hello()) == ("c", "e")

    def test_a_handler_stays_itself(self) -> None:
        def on_fetch(request: object, env: object) -> None: ...

        assert workers.handler(on_fetch) is on_fetch


class _Env:
    NAME = "real"


class TestContext:
    def test_env_is_looked_up_when_it_is_used(self) -> None:
        with pytest.raises(AttributeError, match="no worker is running"):
            workers.env.NAME  # noqa: B018 - reading raises
        token = current_env.set(_Env())
        try:
            assert workers.env.NAME == "real"
            with workers.patch_env({"NAME": "patched"}, OTHER=1):
                assert (workers.env.NAME, workers.env.OTHER) == ("patched", 1)
                with workers.patch_env([("OTHER", 2)]):
                    assert (workers.env.NAME, workers.env.OTHER) == ("patched", 2)
            assert workers.env.NAME == "real"
            with pytest.raises(AttributeError, match="NOPE"):
                workers.env.NOPE  # noqa: B018 - reading raises
        finally:
            current_env.reset(token)

    def test_wait_until_goes_to_the_running_event(self) -> None:
        kept: list[object] = []

        class Ctx:
            def waitUntil(self, awaitable: object) -> None:
                kept.append(awaitable)

        with pytest.raises(RuntimeError, match="outside an event"):
            workers.wait_until(None)
        token = current_ctx.set(Ctx())
        workers.waitUntil("awaitable")
        current_ctx.reset(token)
        assert kept == ["awaitable"]

    async def test_fetch_goes_out_at_call_time(self) -> None:
        sent: list[Request] = []

        class Recorder:
            def fetch(self, request: Request):
                sent.append(request)

                async def answer() -> Response:
                    return Response("ok")

                return answer()

        token = outbound.set(Recorder())
        pending = workers.fetch("http://x", method="POST", body="b")
        assert (sent[0].method, sent[0].url) == ("POST", "http://x/")
        assert await (await pending).text() == "ok"
        request = Request("http://y/")
        await workers.fetch(request)
        assert sent[1] is request
        outbound.reset(token)

    def test_fetch_takes_keywords_only(self) -> None:
        with pytest.raises(TypeError) as caught:
            workers.fetch("http://x/", {"headers": {}})
        assert str(caught.value) == "fetch() takes 1 positional argument but 2 were given"

    def test_fetch_without_a_host_is_an_os_error(self) -> None:
        with pytest.raises(OSError, match="no way out"):
            workers.fetch("http://x/")


def _load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"shim_{name}", SHIMS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def js() -> Iterator[ModuleType]:
    yield _load("js", "js.py")
    assert "js" not in sys.modules


@pytest.fixture
def ffi() -> ModuleType:
    return _load("ffi", "pyodide/ffi.py")


class TestShims:
    async def test_js_objects_are_ours(self, js: ModuleType) -> None:
        response = js.Response.new(
            "x", {"status": 201, "statusText": "Made", "headers": {"a": "b"}}
        )
        assert isinstance(response, Response)
        assert (response.status, response.status_text, await response.text()) == (201, "Made", "x")
        assert js.Response.new("x", headers=js.Headers.new({"c": "d"})).headers.get("c") == "d"
        assert js.Response.json({"a": 1}).headers.get("content-type") == "application/json"
        request = js.Request.new(
            "http://x", js.Object.fromEntries([["method", "POST"], ["body", "b"]])
        )
        assert isinstance(request, Request)
        assert (request.method, await request.text()) == ("POST", "b")
        assert list(js.Headers.new({"A": "1"})) == [("a", "1")]
        client, _ = js.WebSocketPair.new().object_values()
        upgrade = js.Response.new(None, {"status": 101, "webSocket": client})
        assert upgrade.webSocket is client
        assert await Response(js.Blob.new(["x"], {"type": "a/b"})).text() == "x"
        assert js.File.new(["x"], "n", type="a/b").content_type == "a/b"
        assert isinstance(js.FormData.new(), FormData)
        assert js.TransformStream.new().readable.locked is False

    def test_urls_and_their_parameters_move_together(self, js: ModuleType) -> None:
        url = js.URL.new("../b?x=1#f", "http://Host:80/a/c/")
        assert url.href == "http://host/a/b?x=1#f"
        url.searchParams.append("y", "a b")
        assert url.search == "?x=1&y=a+b"
        url.search = "?z=2"
        assert (url.searchParams.get("z"), url.searchParams.get("x")) == ("2", None)
        url.pathname = "p?q"
        url.port, url.hash, url.hostname = 81, "", "other"
        assert str(url) == "http://other:81/p%3Fq?z=2"
        assert (url.origin, url.host, url.protocol) == ("http://other:81", "other:81", "http:")
        assert js.URL.canParse("http://x") is True
        assert js.URL.canParse("x") is False
        with pytest.raises(JsTypeError, match="Invalid URL: nope"):
            js.URL.new("nope")

    def test_parameters_are_a_multimap(self, js: ModuleType) -> None:
        params = js.URLSearchParams.new("?b=1&a=2&b=3")
        assert (params.get("b"), params.getAll("b"), params.get("c"), params.size) == (
            "1",
            ["1", "3"],
            None,
            3,
        )
        params.set("b", 9)
        params.set("c", 4)
        params.delete("a")
        assert params.toString() == "b=9&c=4"
        params.append("a", 0)
        params.sort()
        assert list(params) == [("a", "0"), ("b", "9"), ("c", "4")]
        assert (list(params.keys()), list(params.values())) == (["a", "b", "c"], ["0", "9", "4"])

    async def test_small_globals(self, js: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        assert js.JSON.parse('{"a": {"b": 1}}').a.b == 1
        assert js.JSON.stringify({"a": [1, "é"]}) == '{"a":[1,"é"]}'
        assert js.JSON.stringify([1], None, 1) == "[\n 1\n]"
        with pytest.raises(JsException, match="SyntaxError"):
            js.JSON.parse("{")
        assert js.Object.keys({"a": 1}) == ["a"]
        assert js.Object.values({"a": 1}) == [1]
        assert js.Object.entries({"a": 1}) == [["a", 1]]
        assert js.Object.assign(js.Object.new(), {"a": 1}).a == 1
        assert js.Array.isArray(js.Array.new(1, 2)) is True
        assert js.Array.from_("ab") == ["a", "b"]
        js.console.log("out")
        js.console.error("err")
        assert capsys.readouterr() == ("out\n", "err\n")
        digest = await js.crypto.subtle.digest("SHA-256", b"")
        assert digest.to_bytes().hex().startswith("e3b0c442")
        with pytest.raises(JsException, match="NotSupportedError"):
            await js.crypto.subtle.digest("MD5", b"")
        array = js.Uint8Array.new(16)
        assert js.crypto.getRandomValues(array) is array
        assert any(array)
        assert clone(array) == bytes(array)
        assert js.crypto.randomUUID()[14] == "4"
        assert js.ArrayBuffer.new(3).byteLength == 3

    def test_dates(self, js: ModuleType) -> None:
        date = js.Date.new(1_767_312_000_123)
        assert (date.getTime(), date.toISOString()) == (
            1_767_312_000_123,
            "2026-01-02T00:00:00.123Z",
        )
        assert js.Date.new("2026-01-02T00:00:00Z").getTime() == 1_767_312_000_000
        assert js.Date.new(datetime(2026, 1, 2)).getTime() == 1_767_312_000_000
        assert clone(date) == datetime(2026, 1, 2, 0, 0, 0, 123_000)
        assert isinstance(js.Date.now(), int)
        assert abs(js.Date.new().getTime() - js.Date.now()) < 60_000
        with pytest.raises(JsTypeError, match="Invalid date"):
            js.Date.new([])

    async def test_js_fetch_takes_an_init_object(self, js: ModuleType) -> None:
        sent: list[Request] = []

        class Recorder:
            async def fetch(self, request: Request) -> Response:
                sent.append(request)
                return Response("ok")

        token = outbound.set(Recorder())
        await js.fetch(js.URL.new("http://x/"), {"method": "PUT", "body": "b"})
        response = await _load("http", "pyodide/http.py").pyfetch("http://y/")
        outbound.reset(token)
        assert await response.string() == "ok"
        assert [request.method for request in sent] == ["PUT", "GET"]

    def test_conversions(self, js: ModuleType, ffi: ModuleType) -> None:
        assert ffi.to_js({"a": (1, {"b": 2})}, dict_converter=js.Object.fromEntries).a[1].b == 2
        assert ffi.to_js(["tag"]) == ["tag"]
        assert ffi.to_js({frozenset({1}).__len__(): {1}}) == {1: {1}}
        assert ffi.to_js(bytearray(b"x")) == b"x"
        assert not isinstance(ffi.to_js({}), ffi.JsProxy)
        assert ffi.JsException is JsException

    def test_proxies_can_be_destroyed(self, ffi: ModuleType) -> None:
        proxy = ffi.create_proxy(len)
        assert (proxy("abc"), proxy.__name__, proxy.unwrap()) == (3, "len", len)
        proxy.destroy()
        with pytest.raises(JsException, match="destroyed"):
            proxy("abc")
        once = ffi.create_once_callable(len)
        assert once("ab") == 2
        with pytest.raises(JsException, match="destroyed"):
            once("ab")

    def test_run_sync_needs_a_host(self, ffi: ModuleType) -> None:
        async def late() -> None: ...

        with pytest.raises(RuntimeError, match="use `await`"):
            ffi.run_sync(late())
        assert ffi.can_run_sync() is False
