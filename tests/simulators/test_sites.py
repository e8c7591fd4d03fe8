"""A site without code: its files answer every request. Statuses are those of `wrangler dev`."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_bench import Bench
from workers import Request

from dohost.config import AssetsConfig, ServiceBinding, WorkerConfig

CALLER = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.SITE.fetch(request)

    async def call(self):
        return await self.env.SITE.anything()
"""


def site(root: Path, **settings: object) -> WorkerConfig:
    directory = root / "public"
    directory.mkdir()
    for name, text in {"index.html": "home", "about.html": "about", "404.html": "gone"}.items():
        (directory / name).write_text(text)
    return WorkerConfig(
        name="site",
        main=None,
        config_path=root / "wrangler.toml",
        assets=AssetsConfig(directory=directory, **settings),
    )


async def asked(bench: Bench, path: str, method: str = "GET", **fields: str) -> tuple[int, str]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    request = Request(f"http://localhost{path}", method=method, headers=headers)
    response = await bench.host.fetch(request)
    return response.status, await response.text()


async def test_files_answer_every_request(bench: Bench, tmp_path: Path) -> None:
    await bench.run(site(tmp_path))
    assert await asked(bench, "/") == (200, "home")
    assert await asked(bench, "/about") == (200, "about")
    assert await asked(bench, "/about.html") == (307, "")
    assert await asked(bench, "/none") == (404, "")
    assert await asked(bench, "/none", sec_fetch_mode="navigate") == (404, "")
    assert await asked(bench, "/about", "POST") == (405, "")
    assert await asked(bench, "/about", "OPTIONS") == (405, "")
    assert await asked(bench, "/none", "POST") == (404, "")
    assert (await asked(bench, "/about", "HEAD"))[0] == 200


async def test_a_page_for_what_is_missing_is_shown(bench: Bench, tmp_path: Path) -> None:
    await bench.run(site(tmp_path, not_found_handling="404-page"))
    assert await asked(bench, "/none") == (404, "gone")


async def test_another_worker_reaches_a_site_and_finds_no_code_in_it(
    bench: Bench, tmp_path: Path
) -> None:
    services = (ServiceBinding(binding="SITE", service="site"),)
    await bench.run(bench.config(CALLER, services=services), site(tmp_path))
    assert await asked(bench, "/about") == (200, "about")
    with pytest.raises(Exception, match="exports no entrypoint 'Default'"):
        await bench.host.generations["app"].env.SITE.anything()
