"""Which requests reach a worker that has static assets."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_bench import Bench
from workers import Request

from dohost.config import AssetsConfig, ServiceBinding
from dohost.runtime.host import LoadFailed

CODE = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("worker")
    async def hello(self):
        return "hello"
"""
CALLER = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.endswith("/rpc"):
            return Response(await self.env.SITE.hello())
        return await self.env.SITE.fetch(request)
"""


@pytest.fixture
def public(tmp_path: Path) -> Path:
    directory = tmp_path / "public"
    directory.mkdir()
    (directory / "index.html").write_text("home")
    return directory


async def text(bench: Bench, path: str, **headers: str) -> str:
    request = Request(f"http://localhost{path}", headers=headers)
    return await (await bench.host.fetch(request)).text()


async def test_assets_come_first_and_the_worker_gets_the_rest(bench: Bench, public: Path) -> None:
    await bench.run(bench.config(CODE, assets=AssetsConfig(directory=public)))
    assert [await text(bench, path) for path in ("/", "/api")] == ["home", "worker"]


async def test_the_worker_may_come_first(bench: Bench, public: Path) -> None:
    await bench.run(bench.config(CODE, assets=AssetsConfig(directory=public, is_worker_first=True)))
    assert await text(bench, "/") == "worker"


async def test_routes_say_what_is_whose(bench: Bench, public: Path) -> None:
    assets = AssetsConfig(
        directory=public,
        not_found_handling="single-page-application",
        worker_routes=("/api/*",),
        asset_routes=("/api/docs/*",),
    )
    await bench.run(bench.config(CODE, assets=assets))
    paths = ("/api/x", "/api/docs/x", "/other")
    assert [await text(bench, path) for path in paths] == ["worker", "home", "home"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "home"),
        ({"compatibility_date": "2025-03-31"}, "worker"),
        ({"compatibility_flags": frozenset({"assets_navigation_has_no_effect"})}, "worker"),
    ],
)
async def test_a_browser_that_opens_a_page_gets_the_page_of_the_application(
    bench: Bench, public: Path, fields: dict[str, object], expected: str
) -> None:
    assets = AssetsConfig(directory=public, not_found_handling="single-page-application")
    await bench.run(bench.config(CODE, assets=assets, **fields))
    assert await text(bench, "/some/page") == "worker"
    assert await text(bench, "/some/page", **{"Sec-Fetch-Mode": "navigate"}) == expected


async def test_another_worker_meets_the_assets_first_too(bench: Bench, public: Path) -> None:
    site = bench.config(CODE, name="site", assets=AssetsConfig(directory=public))
    service = ServiceBinding(binding="SITE", service="site")
    await bench.run(bench.config(CALLER, services=(service,)), site)
    paths = ("/", "/api", "/rpc")
    assert [await text(bench, path) for path in paths] == ["home", "worker", "hello"]


async def test_files_that_come_later_are_served_after_a_refresh(bench: Bench, public: Path) -> None:
    await bench.run(bench.config(CODE, assets=AssetsConfig(directory=public)))
    (public / "new.html").write_text("new")
    assert await text(bench, "/new") == "worker"
    await bench.host.refresh_assets()
    assert await text(bench, "/new") == "new"
    (public / "index.html").unlink()
    (public / "new.html").unlink()
    public.rmdir()
    await bench.host.refresh_assets()
    assert [event.name for event in bench.events] == ["assets.not_read"]
    assert await text(bench, "/api") == "worker"


async def test_a_directory_that_cannot_be_read_keeps_the_old_code(
    bench: Bench, public: Path
) -> None:
    await bench.run(bench.config(CODE, assets=AssetsConfig(directory=public)))
    missing = AssetsConfig(directory=public / "none")
    with pytest.raises(LoadFailed, match=r"The assets can't be read: .*none"):
        await bench.run(bench.config(CODE, assets=missing))
    assert await text(bench, "/") == "home"


async def test_a_rule_that_is_ignored_is_logged(bench: Bench, public: Path) -> None:
    (public / "_redirects").write_text("nonsense\n")
    await bench.run(bench.config(CODE, assets=AssetsConfig(directory=public)))
    (event,) = bench.events
    assert event.name == "assets.rule_ignored"
    assert str(event.fields["rule"]).startswith(f"{public / '_redirects'}:1: ")
