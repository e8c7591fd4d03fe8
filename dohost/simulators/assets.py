"""Static assets of a worker: what `env.ASSETS.fetch()` answers, and which requests never reach the worker.

The files and rules are read when code is loaded and again when a file changes (`site` is replaced then); every request
is decided on what is known then, and only opens the file that it gets.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from workers import Request, Response
from workers.response import REDIRECT_STATUSES
from workers.streams import ReadableStream
from workers.url import parse

from dohost.config import AssetsConfig
from dohost.errors import JsException, JsTypeError
from dohost.simulators.assets_files import (
    HEADERS_FILE,
    REDIRECTS_FILE,
    Asset,
    Content,
    open_asset,
    read_text,
    scan,
)
from dohost.simulators.assets_headers import HeaderRule, apply_headers, parse_headers
from dohost.simulators.assets_paths import (
    Found,
    Moved,
    Paths,
    decode_path,
    encode_path,
)
from dohost.simulators.assets_redirects import Redirects, location_of, parse_redirects
from dohost.simulators.assets_rules import place_of
from dohost.simulators.failures import telling
from dohost.simulators.outlet import Outlet

CACHE_CONTROL: Final = "public, max-age=0, must-revalidate"
_REDIRECTS_MAX = 20


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """The files and rules of a directory as they were read."""

    paths: Paths
    redirects: Redirects
    headers: list[HeaderRule]
    complaints: tuple[str, ...]


def read_site(config: AssetsConfig, *, data: Path) -> Site:
    """Read a directory; blocks. Raises: OSError; UserCodeError for more than Cloudflare takes."""
    directory, html_handling = config.directory, config.html_handling
    files = scan(directory, data=data)
    headers, header_complaints = parse_headers(read_text(directory / HEADERS_FILE) or "")
    redirects, redirect_complaints = parse_redirects(
        read_text(directory / REDIRECTS_FILE) or "", handles_html=html_handling != "none"
    )
    named = ((HEADERS_FILE, header_complaints), (REDIRECTS_FILE, redirect_complaints))
    return Site(
        paths=Paths(
            files=files,
            html_handling=html_handling,
            not_found_handling=config.not_found_handling,
        ),
        redirects=redirects,
        headers=headers,
        complaints=tuple(
            f"{directory / name}:{each.line}: {each.why}" for name, found in named for each in found
        ),
    )


class Assets:
    """The assets of one worker: `fetch` is the binding, `claims` and `answer` serve its requests."""

    def __init__(self, site: Site, *, outlet: Outlet) -> None:
        self.site = site
        self._outlet = outlet

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        """Answer a request as the assets do; only its method, path and fields count."""
        if options or type(resource) is not Request:
            resource = Request(resource, **options)  # type: ignore[arg-type] # checked by Request
        request = resource
        told = partial(_failed, request.url)
        return self._outlet.write(telling(lambda: self._follow(request), told))

    def claims(self, request: Request, *, falls_back: bool) -> bool:
        """Whether the assets have an answer; `falls_back`: what stands for missing files is one."""
        if self.site.redirects.find(request.url) is not None:
            return True
        path = place_of(request.url)[1]
        return self.site.paths.resolve(decode_path(path), falls_back=falls_back) is not None

    async def answer(self, request: Request) -> Response:
        """Answer a request; 404 if nothing is at its path."""
        response = await self._answer(request)
        host_name, path = place_of(request.url)
        apply_headers(self.site.headers, response.headers, host_name=host_name, path=path)
        return response

    async def _follow(self, request: Request) -> Response:
        """Answer, and follow redirects among the assets if the request says so, as every fetch does."""
        url = request.url
        for _ in range(_REDIRECTS_MAX):
            response = await self.answer(request)
            response.url, response.redirected = request.url, request.url != url
            location = response.headers.get("location")
            if response.status not in REDIRECT_STATUSES or location is None:
                return response
            if request.redirect == "manual":
                return response
            target = parse(location, request.url).href
            request = Request(target, method=_method_after(response.status, request.method))
        raise JsTypeError(f"fetch({url!r}) of the assets was redirected, and may not be.")

    async def _answer(self, request: Request) -> Response:
        url = request.url
        rule = self.site.redirects.find(url)
        if rule is not None and rule.status != 200:
            return _redirect(location_of(rule, url), rule.status)
        path = place_of(url if rule is None else parse(rule.to, url).href)[1]
        decoded = decode_path(path)
        found = self.site.paths.resolve(decoded, falls_back=True)
        if found is None:
            return Response(None, status=404)
        if request.method not in ("GET", "HEAD"):
            return Response(None, status=405)
        encoded = encode_path(found.path if isinstance(found, Moved) else decoded)
        if isinstance(found, Moved) or encoded != path:
            query = parse(url).query
            return _redirect(f"{encoded}?{query}" if query else encoded, 307)
        return await _serve(found, request)


async def _serve(found: Found, request: Request) -> Response:
    asset, headers = found.asset, request.headers
    known = headers.get("if-none-match")
    if known is not None:
        unchanged = await open_asset(asset, with_body=False)
        if unchanged is not None and known in (unchanged.tag, f"W/{unchanged.tag}"):
            return Response(None, status=304, headers=_fields(asset, unchanged, request))
    content = await open_asset(asset, with_body=request.method == "GET")
    if content is None:
        return Response(None, status=404)
    return Response(content.body, status=found.status, headers=_fields(asset, content, request))


def _fields(asset: Asset, content: Content, request: Request) -> dict[str, str]:
    fields = {"etag": content.tag, "cf-cache-status": "HIT"}
    if asset.content_type is not None:
        fields["content-type"] = asset.content_type
    if "authorization" not in request.headers and "range" not in request.headers:
        fields["cache-control"] = CACHE_CONTROL
    if isinstance(content.body, ReadableStream):
        fields["content-length"] = str(content.size)
    return fields


def _method_after(status: int, method: str) -> str:
    """Return the method after a redirect, by the Fetch standard."""
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        return "GET"
    return method


def _failed(url: str, status: int, reason: str) -> JsException:
    return JsException(f"fetch({url!r}) of the assets failed: {status} {reason}")


def _redirect(location: str, status: int) -> Response:
    return Response(None, status=status, headers={"location": location})
