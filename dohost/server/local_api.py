"""What the server answers beside the program: `POST /cdn-cgi/local/api/<name>` for the command line, and
wrangler's addresses that run the `scheduled` handler by hand.

Any web page can make a browser send requests to a loopback address, and a name that resolves to one (DNS
rebinding) makes them same-origin. So everything under `/cdn-cgi/` checks whom the client meant to talk to
(Host, with the port that it reached) and who makes it talk (Origin, Sec-Fetch-Site); and a call must be a
JSON POST with this run's secret in a header of its own, which a form or an image can't send. Refusals are
all 403 and say no more.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
from workers.request import Request
from workers.response import Response

from dohost.errors import CallerError

GUARDED_PREFIX = "/cdn-cgi/"
API_PREFIX = "/cdn-cgi/local/api/"
SCHEDULED_PATHS = frozenset(
    ("/cdn-cgi/local/scheduled", "/cdn-cgi/handler/scheduled", "/cdn-cgi/mf/scheduled")
)
TEST_SCHEDULED_PATH = "/__scheduled"
TOKEN_FIELD = "x-dohost-token"
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_OWN_SITES = frozenset(("same-origin", "none"))
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UnknownCall(CallerError):
    """The local API has nothing of this name."""


class ScheduledEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of the `scheduled` handler ended: "ok" or "exception"."""

    outcome: str
    noRetry: bool


class LocalApi(Protocol):
    """What the command line can ask a running server for."""

    @property
    def token(self) -> str:
        """The secret of this run."""
        ...

    async def call(self, name: str, arguments: Mapping[str, object]) -> object:
        """Return the JSON-able answer. Raises: UnknownCall, or another CallerError for bad arguments."""
        ...

    async def scheduled(self, cron: str, time_ms: int | None) -> ScheduledEnd:
        """Run the `scheduled` handler; `time_ms` None: as of now."""
        ...


class LocalGuard:
    """Lets in what may come in, and answers API calls; `names` are hosts beside the loopback ones."""

    def __init__(self, api: LocalApi, names: tuple[str, ...], *, is_dev: bool) -> None:
        self._api = api
        self._is_dev = is_dev
        self._names = _LOOPBACK_NAMES | {name.lower() for name in names}

    async def answer(self, request: Request, *, port: int | None) -> Response | None:
        """Return the answer to a request under `/cdn-cgi/`; None if it is the program's to answer.

        `port` is the one that the client is connected to; None for a connection that has none.
        Raises: what the API's call raises beside CallerError.
        """
        refusal = self._refusal(request, port)
        if refusal is not None:
            return refusal
        path = urlsplit(request.url).path
        if path in SCHEDULED_PATHS or path == TEST_SCHEDULED_PATH:
            # In production a proxy's clients choose the Host: only the secret tells who asks.
            if not (self._is_dev or self._has_token(request)):
                return Response("Forbidden", status=403)
            return await self._scheduled(request)
        if not path.startswith(API_PREFIX):
            return None
        if not self._is_call(request):
            return Response("Forbidden", status=403)
        try:
            arguments = msgspec.json.decode(await request.bytes() or b"{}", type=dict[str, object])
        except (msgspec.DecodeError, RecursionError):
            return Response.from_json({"error": "the body is no JSON object"}, status=400)
        try:
            result = await self._api.call(path.removeprefix(API_PREFIX), arguments)
        except UnknownCall as error:
            return Response.from_json({"error": str(error)}, status=404)
        except CallerError as error:
            return Response.from_json({"error": str(error)}, status=error.status)
        body = msgspec.json.encode(result)
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        return Response(body, headers=headers)

    async def _scheduled(self, request: Request) -> Response:
        url = urlsplit(request.url)
        query = dict(parse_qsl(url.query))
        time = query.get("time")
        if time is not None and not (time.isascii() and time.isdigit() and len(time) <= 15):
            return Response("time must be milliseconds since the epoch", status=400)
        end = await self._api.scheduled(query.get("cron", ""), None if time is None else int(time))
        status = 200 if end.outcome == "ok" else 500
        if url.path == TEST_SCHEDULED_PATH:
            return Response("Ran scheduled event", status=status)
        if query.get("format") == "json":
            return Response.from_json(msgspec.to_builtins(end), status=status)
        return Response(end.outcome, status=status)

    def _refusal(self, request: Request, port: int | None) -> Response | None:
        url = urlsplit(request.url)
        if (url.hostname or "") not in self._names or port not in (None, _port_of(url)):
            return Response("Invalid Host header", status=403)
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"{url.scheme}://{url.netloc.lower()}":
            return Response("Invalid Origin header", status=403)
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in _OWN_SITES:
            return Response("Invalid Origin header", status=403)
        return None

    def _is_call(self, request: Request) -> bool:
        headers = request.headers
        media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        is_json = request.method == "POST" and media_type == "application/json"
        return is_json and self._has_token(request)

    def _has_token(self, request: Request) -> bool:
        given = (request.headers.get(TOKEN_FIELD) or "").encode()
        return hmac.compare_digest(given, self._api.token.encode())


def _port_of(url: SplitResult) -> int:
    """Return the port that a URL names or means; 0 for one that is no port."""
    try:
        return url.port or _DEFAULT_PORTS[url.scheme]
    except ValueError:
        return 0
