"""KV namespaces: what Worker code sees, and a model of them."""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ungated import make_resources
from workers import ReadableStream

from dohost.clock import ManualClock
from dohost.errors import JsException, JsTypeError
from dohost.simulators.kv import KvNamespace
from dohost.simulators.resources import Resources


@pytest.fixture
def kv(resources: Resources) -> KvNamespace:
    return resources.kv_namespace("ns-1")


async def test_a_value_comes_back_in_each_type(kv: KvNamespace) -> None:
    await kv.put("a", '{"n": [1, 2.0]}')
    assert await kv.get("a") == '{"n": [1, 2.0]}'
    assert await kv.get("a", "json") == {"n": [1, 2]}
    assert (await kv.get("a", {"type": "json"})).n == [1, 2]
    assert (await kv.get("a", type="arrayBuffer")).to_bytes() == b'{"n": [1, 2.0]}'
    stream = await kv.get("a", "stream")
    assert b"".join([chunk async for chunk in stream]) == b'{"n": [1, 2.0]}'
    assert await kv.get("missing") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (None, "null"), (b"\xc3\xa9", "é")],
)
async def test_scalars_and_bytes_are_stored_as_javascript_writes_them(
    kv: KvNamespace, value: object, text: str
) -> None:
    await kv.put("a", value)
    assert await kv.get("a") == text


async def test_a_stream_is_read_by_put(kv: KvNamespace) -> None:
    await kv.put("a", ReadableStream.from_bytes(b"streamed"))
    assert await kv.get("a") == "streamed"


async def test_metadata_goes_with_the_value(kv: KvNamespace) -> None:
    await kv.put("a", "1", metadata={"who": "me"})
    found = await kv.getWithMetadata("a", "json")
    assert (found.value, found.metadata.who, found.cacheStatus) == (1, "me", None)
    assert await kv.getWithMetadata("b") == {"value": None, "metadata": None, "cacheStatus": None}


async def test_many_keys_in_one_read(kv: KvNamespace) -> None:
    await kv.put("a", "1")
    await kv.put("m", "2", {"metadata": {"x": 1}})
    assert await kv.get(["a", "zz", "a"], "json") == {"a": 1, "zz": None}
    assert await kv.getWithMetadata(["m", "zz"]) == {
        "m": {"value": "2", "metadata": {"x": 1}},
        "zz": None,
    }


async def test_an_expired_entry_is_gone_and_its_row_too(
    kv: KvNamespace, clock: ManualClock, tmp_path: Path
) -> None:
    now_s = clock.realtime_ns() // 10**9
    await kv.put("ttl", "x", expirationTtl=60)
    await kv.put("at", "x", {"expiration": now_s + 61})
    listed = await kv.list()
    assert [(key.name, key.expiration - now_s) for key in listed["keys"]] == [
        ("at", 61),
        ("ttl", 60),
    ]
    clock.advance(59)
    assert await kv.get("ttl") == "x"
    clock.advance(1)
    assert await kv.get("ttl") is None
    assert [key.name for key in (await kv.list())["keys"]] == ["at"]
    await kv.put("other", "x")
    with sqlite3.connect(tmp_path / "v3/kv/ns-1.sqlite") as reader:
        rows = reader.execute("SELECT key, value FROM entries ORDER BY key").fetchall()
    reader.close()
    assert rows == [("at", "x"), ("other", "x")]


async def test_a_listing_goes_on_behind_its_cursor(kv: KvNamespace) -> None:
    for name in ("b/1", "a", "b/2", "b/3", "B"):
        await kv.put(name, "x")
    first = await kv.list(prefix="b/", limit=2)
    assert [key.name for key in first["keys"]] == ["b/1", "b/2"]
    assert (first.list_complete, first.cursor) == (False, "Yi8y")
    second = await kv.list({"prefix": "b/", "limit": 2, "cursor": first.cursor})
    assert [key.name for key in second["keys"]] == ["b/3"]
    assert second.list_complete is True
    assert "cursor" not in second
    assert [key.name for key in (await kv.list(limit=0))["keys"]] == ["B", "a", "b/1", "b/2", "b/3"]


REFUSED = [
    (lambda kv: kv.put("", "x"), JsTypeError, "Key name cannot be empty."),
    (lambda kv: kv.get(".."), JsTypeError, '".." is not allowed as a key name.'),
    (
        lambda kv: kv.put("k" * 513, "x"),
        JsException,
        "KV PUT failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.",
    ),
    (
        lambda kv: kv.put("a", "x" * (25 * 1024 * 1024 + 1)),
        JsException,
        "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400.",
    ),
    (
        lambda kv: kv.put("a", "x", metadata="x" * 1023),
        JsException,
        "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.",
    ),
    (
        lambda kv: kv.put("a", "x", expirationTtl=59),
        JsException,
        "KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.",
    ),
    (
        lambda kv: kv.put("a", "x", expirationTtl="abc"),
        JsException,
        "KV PUT failed: 400 Invalid expiration_ttl of 0. Please specify integer greater than 0.",
    ),
    (
        lambda kv: kv.put("a", "x", expiration=10),
        JsException,
        "KV PUT failed: 400 Invalid expiration of 10. Please specify integer greater than the "
        "current number of seconds since the UNIX epoch.",
    ),
    (
        lambda kv: kv.put("a", {"no": 1}),
        JsTypeError,
        "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as "
        "values.",
    ),
    (
        lambda kv: kv.get("a", "blob"),
        JsTypeError,
        'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".',
    ),
    (
        lambda kv: kv.get("a", cacheTtl=29),
        JsException,
        "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.",
    ),
    (
        lambda kv: kv.get(["a"], "stream"),
        JsException,
        'KV GET_BULK failed: 400 "stream" is not a valid type. Use "json" or "text"',
    ),
    (
        lambda kv: kv.get([]),
        JsException,
        "KV GET_BULK failed: 400 You must request a minimum of 1 key",
    ),
    (
        lambda kv: kv.get(["a", ""]),
        JsException,
        "KV GET_BULK failed: 400 Key names must not be empty",
    ),
    (
        lambda kv: kv.get(["a", "."]),
        JsException,
        'KV GET_BULK failed: 400 Illegal key name ".". Please use a different name.',
    ),
    (
        lambda kv: kv.get([f"k{n}" for n in range(101)]),
        JsException,
        "KV GET_BULK failed: 400 You can request a maximum of 100 keys",
    ),
    (
        lambda kv: kv.list(limit=1001),
        JsException,
        "KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than "
        "1000.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
async def test_refusals_have_cloudflares_words(kv: KvNamespace, call, kind, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        await call(kv)


async def test_what_is_exactly_at_a_limit_passes(kv: KvNamespace) -> None:
    await kv.put("k" * 512, "x", expirationTtl=60, metadata="x" * 1022)
    await kv.put("big", "x" * (25 * 1024 * 1024))
    assert await kv.get([f"k{n}" for n in range(100)], cacheTtl=30) == {
        f"k{n}": None for n in range(100)
    }


async def test_numbers_of_options_have_32_bits(kv: KvNamespace) -> None:
    await kv.put("a", "x", expiration=2**31 - 1)
    for call in (
        lambda: kv.put("a", "x", expiration=2**31),
        lambda: kv.put("a", "x", expirationTtl=2**31),
        lambda: kv.get("a", cacheTtl=2**31),
        lambda: kv.list(limit=-(2**31) - 1),
    ):
        with pytest.raises(JsTypeError, match="between -2147483648 and 2147483647"):
            await call()


async def test_a_number_beyond_all_bounds_is_infinite(kv: KvNamespace) -> None:
    await kv.put("a", f"[1e400, -1{'0' * 330}, 1{'0' * 5000}, 1{'0' * 300}]")
    assert await kv.get("a", "json") == [math.inf, -math.inf, math.inf, 10.0**300]


async def test_a_value_that_is_no_json_is_a_syntax_error(kv: KvNamespace) -> None:
    await kv.put("a", "NaN")
    with pytest.raises(JsException, match="SyntaxError"):
        await kv.get("a", "json")
    with pytest.raises(JsException, match="corresponds to a non-json value"):
        await kv.get(["a"], "json")


async def test_a_stream_that_is_too_long_changes_nothing(kv: KvNamespace) -> None:
    async def endless():
        while True:
            yield b"x" * (4 * 1024 * 1024)

    await kv.put("a", "before")
    with pytest.raises(JsException, match="KV PUT failed: 413 Value length of"):
        await kv.put("a", ReadableStream.from_async_iterable(endless()))
    assert await kv.get("a") == "before"


async def test_two_bindings_of_one_id_share_it_and_another_id_does_not(
    resources: Resources,
) -> None:
    await resources.kv_namespace("one").put("a", "1")
    assert await resources.kv_namespace("one").get("a") == "1"
    assert await resources.kv_namespace("two").get("a") is None


async def test_an_id_can_not_leave_the_directory(resources: Resources, tmp_path: Path) -> None:
    await resources.kv_namespace("../../x").put("a", "1")
    assert [path.name for path in (tmp_path / "v3/kv").glob("*.sqlite")] == [
        "%2e%2e%2f%2e%2e%2fx.sqlite"
    ]


KEYS = st.sampled_from(["a", "a/b", "é", "🎉", "z"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.text(max_size=5), st.none() | st.integers(60, 200)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("advance"), st.integers(1, 90)),
        st.tuples(st.just("list"), st.sampled_from(["", "a", "é"]), st.integers(1, 3)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_it_answers_as_a_dict_with_deadlines(steps, tmp_path_factory) -> None:
    asyncio.run(follow(steps, tmp_path_factory.mktemp("kv")))


async def follow(steps, directory: Path) -> None:
    clock = ManualClock()
    resources = make_resources(directory, clock)
    try:
        await compare(resources.kv_namespace("n"), steps, clock)
    finally:
        await resources.close()


async def compare(kv: KvNamespace, steps, clock: ManualClock) -> None:
    model: dict[str, tuple[str, int | None]] = {}
    for step in steps:
        now_s = clock.realtime_ns() // 10**9
        model = {k: v for k, v in model.items() if v[1] is None or v[1] > now_s}
        match step:
            case ("put", key, value, ttl):
                await kv.put(key, value, *([{"expirationTtl": ttl}] if ttl else []))
                model[key] = (value, None if ttl is None else now_s + ttl)
            case ("delete", key):
                await kv.delete(key)
                model.pop(key, None)
            case ("advance", seconds):
                clock.advance(seconds)
            case ("list", prefix, limit):
                assert await all_names(kv, prefix, limit) == sorted(
                    (key for key in model if key.startswith(prefix)), key=str.encode
                )
    now_s = clock.realtime_ns() // 10**9
    for key in ("a", "a/b", "é", "🎉", "z"):
        value, ends_s = model.get(key, (None, None))
        assert await kv.get(key) == (value if ends_s is None or ends_s > now_s else None)


async def all_names(kv: KvNamespace, prefix: str, limit: int) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = await kv.list(prefix=prefix, limit=limit, cursor=cursor)
        assert len(page["keys"]) <= limit
        names += [key.name for key in page["keys"]]
        if page.list_complete:
            return names
        cursor = page.cursor
