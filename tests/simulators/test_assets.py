"""Static assets: what is served and what never is, rules, tags, and large files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from workers import Request, Response
from workers.streams import ReadableStream

from dohost.config import AssetsConfig
from dohost.errors import HostError, JsException, JsTypeError, UserCodeError
from dohost.simulators import assets_files
from dohost.simulators.assets import Assets, read_site
from dohost.simulators.assets_files import scan
from dohost.simulators.assets_headers import parse_headers
from dohost.simulators.assets_ignore import IgnorePatterns
from dohost.simulators.assets_redirects import parse_redirects
from dohost.simulators.chunks import CHUNK_BYTES
from dohost.simulators.content_types import content_type_of
from dohost.simulators.resources import Resources


def write(root: Path, *names: str, text: str = "x") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def served(root: Path) -> set[str]:
    return set(scan(root, data=root / "data"))


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return write(tmp_path / "public", "index.html", "about.html", "style.css")


@pytest.fixture
def assets(public: Path, resources: Resources) -> Assets:
    config = AssetsConfig(directory=public)
    return resources.assets(read_site(config, data=public / "data"))


async def answer(assets: Assets, path: str, **options: object) -> Response:
    return await assets.answer(Request(f"http://localhost{path}", **options))


def test_hidden_files_and_the_data_directory_are_never_served(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", ".dev.vars", ".env", ".git/config", "sub/.hidden", "back\\slash")
    write(tmp_path, ".well-known/security.txt", "sub/.well-known/no", ".well-known/.no")
    write(tmp_path, "data/catalog.sqlite", "sub/data/kept", ".assetsignore")
    assert served(tmp_path) == {"/a.txt", "/.well-known/security.txt", "/sub/data/kept"}


def test_links_that_lead_out_or_to_what_is_hidden_are_never_served(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", "secret.txt")
    root = write(tmp_path / "public", "a.txt", ".env")
    (root / "in").symlink_to(root / "a.txt")
    (root / "out").symlink_to(outside / "secret.txt")
    (root / "env").symlink_to(root / ".env")
    (root / "directory").symlink_to(outside)
    (root / "data").mkdir()
    (root / "data" / "catalog.sqlite").touch()
    (root / "database").symlink_to(root / "data" / "catalog.sqlite")
    (root / "circle").symlink_to(root / "circle")
    (root / "broken").symlink_to(root / "none")
    assert served(root) == {"/a.txt", "/in"}


def test_what_is_no_file_is_never_served(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert served(tmp_path) == set()


def test_a_file_that_cloudflare_would_not_take_is_a_problem(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(assets_files.FILE_BYTES_MAX)
        assert served(tmp_path) == {"/large"}
        file.truncate(assets_files.FILE_BYTES_MAX + 1)
    with pytest.raises(UserCodeError, match=r"Asset too large: .*large"):
        served(tmp_path)


def test_too_many_files_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets_files, "FILES_MAX", 2)
    write(tmp_path, "a", "b")
    assert len(served(tmp_path)) == 2
    write(tmp_path, "c")
    with pytest.raises(UserCodeError, match="Maximum number of assets exceeded"):
        served(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("*.map", ["a.map", "d/a.MAP"], ["a.map.js"]),
        ("/a", ["a", "a/b"], ["d/a"]),
        ("d/a", ["d/a"], ["x/d/a"]),
        ("d/", ["d/a", "x/d/a"], ["d"]),
        ("**/d", ["d", "x/y/d"], ["dd"]),
        ("d/**", ["d/a", "d/x/a"], ["d"]),
        ("a/**/b", ["a/b", "a/x/y/b"], ["a/xb"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[ab].txt", ["a.txt"], ["c.txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt"]),
        ("[", ["["], ["a"]),
        ("\\#a", ["#a"], ["a"]),
        ("# a\n\n  \nb ", ["b"], ["a", "# a"]),
        ("*.txt\n!b.txt", ["a.txt"], ["b.txt"]),
        ("d\n!d/a", ["d/a"], []),
    ],
)
def test_ignored_files(pattern: str, ignored: list[str], kept: list[str]) -> None:
    patterns = IgnorePatterns(pattern)
    assert [name for name in ignored + kept if patterns.match(name)] == ignored


def test_content_types() -> None:
    assert content_type_of("a/b.HTML") == "text/html; charset=utf-8"
    assert content_type_of("a.b/c") is None
    assert content_type_of("html") is None
    assert content_type_of("a.wasm") == "application/wasm"


async def test_a_tag_is_answered_with_304_until_the_file_changes(
    assets: Assets, public: Path
) -> None:
    first = await answer(assets, "/about")
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}"):
        again = await answer(assets, "/about", headers={"If-None-Match": given})
        assert (again.status, again.headers["etag"], await again.text()) == (304, tag, "")
    write(public, "about.html", text="changed")
    changed = await answer(assets, "/about", headers={"If-None-Match": tag})
    assert (changed.status, await changed.text()) == (200, "changed")
    assert changed.headers["etag"] != tag


async def test_a_file_that_is_gone_or_became_a_link_is_not_found(
    assets: Assets, public: Path
) -> None:
    (public / "about.html").unlink()
    assert (await answer(assets, "/about")).status == 404
    (public / "about.html").symlink_to("/etc/hostname")
    assert (await answer(assets, "/about")).status == 404
    (public / "about.html").unlink()
    os.mkfifo(public / "about.html")
    assert (await answer(assets, "/about")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2fetc%2fhostname",
        "/%2e%2e/%2e%2e/etc/hostname",
        "/..%5c..%5cetc%5chostname",
        "/%252e%252e%252fetc%252fhostname",
        "/about.html%00.css",
        "//etc/hostname",
        "/.assetsignore",
        "/_headers",
    ],
)
async def test_no_path_leads_out(assets: Assets, path: str) -> None:
    assert not assets.claims(Request(f"http://localhost{path}"), falls_back=False)
    assert (await answer(assets, path)).status == 404


async def test_a_large_file_is_sent_in_pieces_of_known_length(
    tmp_path: Path, resources: Resources
) -> None:
    size = CHUNK_BYTES
    write(tmp_path, "whole", text="x" * size)
    write(tmp_path, "large", text="x" * (size + 1))
    assets = resources.assets(read_site(AssetsConfig(directory=tmp_path), data=tmp_path / "data"))
    whole = await answer(assets, "/whole")
    assert "content-length" not in whole.headers
    assert len(await whole.bytes()) == size
    large = await answer(assets, "/large")
    assert large.headers["content-length"] == str(size + 1)
    assert isinstance(large.body, ReadableStream)
    assert [len(chunk) async for chunk in large.body.chunks()] == [size, 1]
    head = await answer(assets, "/large", method="HEAD")
    assert (head.status, head.body) == (200, None)


async def test_a_file_that_is_cut_off_while_it_is_sent_breaks_its_answer(
    tmp_path: Path, resources: Resources
) -> None:
    write(tmp_path, "large", text="x" * (3 * CHUNK_BYTES))
    assets = resources.assets(read_site(AssetsConfig(directory=tmp_path), data=tmp_path / "data"))
    response = await answer(assets, "/large")
    os.truncate(tmp_path / "large", 10)
    with pytest.raises(OSError, match=r"large ended \d+ bytes too early"):
        await response.bytes()


async def test_the_binding_follows_redirects_as_every_fetch_does(assets: Assets) -> None:
    followed = await assets.fetch("http://x.test/about.html")
    assert (followed.status, followed.redirected, followed.url) == (
        200,
        True,
        "http://x.test/about",
    )
    manual = await assets.fetch("http://x.test/about.html", redirect="manual")
    assert (manual.status, manual.headers["location"]) == (307, "/about")
    with pytest.raises(JsTypeError, match="Invalid redirect value"):
        await assets.fetch("http://x.test/about.html", redirect="error")


async def test_redirects_in_circles_end(public: Path, resources: Resources) -> None:
    (public / "_redirects").write_text("/a /b\n/b /a\n")
    assets = resources.assets(read_site(AssetsConfig(directory=public), data=public / "data"))
    with pytest.raises(JsTypeError, match="was redirected"):
        await assets.fetch("http://x.test/a")


def test_rules_of_headers_that_cannot_be_used_are_named_and_the_others_hold() -> None:
    text = """
X-No: path
/a
  X-A: 1
  nothing
  X A: 2
  X(Bad: 1
https://a.test:80/x
/empty
/:a/:a
  X-B: 1
/long
""" + ("#" + "x" * 3000 + "\n" + "y" * 2001)
    rules, complaints = parse_headers(text)
    assert [(rule.pattern.text, rule.sets) for rule in rules] == [("/a", {"x-a": "1"})]
    assert [each.line for each in complaints] == [2, 5, 6, 7, 8, 14, 9, 10, 12]


def test_as_many_rules_of_headers_as_on_cloudflare() -> None:
    rules, complaints = parse_headers("".join(f"/{n}\n A: b\n" for n in range(101)))
    assert (len(rules), complaints[0].line) == (100, 201)


def test_redirects_that_cannot_be_used_are_named_and_the_others_hold() -> None:
    text = """
/only
/a /b 999
/a /b
/a /c
/x/* /index.html
/p https://a.test/ 200
https://a.test/ /b
/:a/:a /b
/q b
/hash /b#c # comment
"""
    redirects, complaints = parse_redirects(text, handles_html=True)
    assert [each.line for each in complaints] == [2, 3, 5, 6, 7, 8, 9, 10]
    found = redirects.find("http://localhost/hash")
    assert found is not None
    assert (found.to, found.status) == ("/b#c", 302)


def test_as_many_redirects_as_on_cloudflare() -> None:
    text = "".join(f"/{n} /x\n" for n in range(2001)) + "".join(f"/{n}/* /x\n" for n in range(101))
    redirects, complaints = parse_redirects(text, handles_html=True)
    assert (len(redirects.fixed), len(redirects.dynamic)) == (2000, 100)
    assert [each.line for each in complaints] == [2001, 2102]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EMFILE, "too-many-files"), (errno.EIO, "storage-failed")]
)
async def test_a_file_that_can_not_be_looked_at_now_is_not_called_missing(
    assets: Assets, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(assets_files.os, "open", refuse)
    with pytest.raises(HostError) as caught:
        await answer(assets, "/style.css")
    assert caught.value.code == code
    with pytest.raises(JsException, match=r"^Error: fetch\('http://x/style.css'\) of the") as told:
        await assets.fetch("http://x/style.css")
    assert (told.value.code, told.value.status) == (code, 503)
