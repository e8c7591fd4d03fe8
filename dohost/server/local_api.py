"""What the server answers beside the program: `POST /cdn-cgi/local/api/<name>` for the command line,
wrangler's addresses that run the `scheduled` handler by hand, and `GET /cdn-cgi/metrics` for Prometheus.

Any web page can make a browser send requests to a loopback address, and a name that resolves to one (DNS
rebinding) makes them same-origin. So everything under `/cdn-cgi/` checks whom the client meant to talk to
(Host, with the port that it reached) and who makes it talk (Origin, Sec-Fetch-Site); and a call must be a
JSON POST with this run's secret in a header of its own, which a form or an image can't send. Refusals are
all 403 and say no more.

A scraper knows no secret. The metrics are for clients of this machine, and not for those that a proxy on it
speaks for; others are let in by their addresses, under whatever name they know this server.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
from workers.request import Request
from workers.response import Response

from dohost.errors import CallerError
from dohost.server.client_address import FORWARDING_FIELDS, Network, is_loopback, is_within
from dohost.server.exchange import Exchange
from dohost.server.figures import ServerFigures

GUARDED_PREFIX = "/cdn-cgi/"
API_PREFIX = "/cdn-cgi/local/api/"
SCHEDULED_PATHS = frozenset(
    ("/cdn-cgi/local/scheduled", "/cdn-cgi/handler/scheduled", "/cdn-cgi/mf/scheduled")
)
TEST_SCHEDULED_PATH = "/__scheduled"
METRICS_PATH = "/cdn-cgi/metrics"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
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


class Caller(msgspec.Struct, frozen=True):
    """Who is at the other end of a connection, and at which port of ours; None if it has none.

    `names_another`: its request has a field in which proxies say for whom they speak.
    """

    ip: str
    port: int | None
    names_another: bool


def caller_of(exchange: Exchange) -> Caller:
    """Return who sent a request."""
    connection = exchange.connection
    names_another = any(field in exchange.message.headers for field in FORWARDING_FIELDS)
    return Caller(connection.client_ip, connection.local_port, names_another)


class LocalApi(Protocol):
    """What can be asked of a running server beside its program."""

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

    async def metrics(self, server: ServerFigures) -> str:
        """Return the figures of host and server in Prometheus's text format."""
        ...


class LocalGuard:
    """Lets in what may come in, and answers API calls.

    `names` are hosts beside the loopback ones, `metrics_to` readers of the metrics beside this machine's.
    """

    def __init__(
        self,
        api: LocalApi,
        names: tuple[str, ...],
        *,
        is_dev: bool,
        metrics_to: tuple[Network, ...],
        figures: Callable[[], ServerFigures],
    ) -> None:
        self._api = api
        self._metrics_to = metrics_to
        self._figures = figures
        self._is_dev = is_dev
        self._names = _LOOPBACK_NAMES | {name.lower() for name in names}

    async def answer(self, request: Request, caller: Caller) -> Response | None:
        """Return the answer to a request under `/cdn-cgi/`; None if it is the program's to answer.

        Raises: what the API's call raises beside CallerError.
        """
        path = urlsplit(request.url).path
        if path == METRICS_PATH:
            return await self._metrics(request, caller)
        refusal = self._refusal(request, caller)
        if refusal is not None:
            return refusal
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

    async def _metrics(self, request: Request, caller: Caller) -> Response:
        # The server's word: of a trusted proxy's client its own address.
        client_ip = request.headers.get("cf-connecting-ip") or ""
        # A proxy whose word is not taken, or not understood, is no client of this machine.
        is_unknown = caller.names_another and client_ip == caller.ip
        is_named = is_within(client_ip, self._metrics_to)
        if is_unknown or not (is_named or is_loopback(client_ip)):
            return Response("Forbidden", status=403)
        refusal = _foreign_site(request) if is_named else self._refusal(request, caller)
        if refusal is not None:
            return refusal
        if request.method not in ("GET", "HEAD"):
            return Response("Method Not Allowed", status=405, headers={"allow": "GET, HEAD"})
        text = await self._api.metrics(self._figures())
        headers = {"content-type": METRICS_TYPE, "cache-control": "no-store"}
        return Response(text, headers=headers)

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

    def _refusal(self, request: Request, caller: Caller) -> Response | None:
        return self._wrong_host(request, caller) or _foreign_site(request)

    def _wrong_host(self, request: Request, caller: Caller) -> Response | None:
        url = urlsplit(request.url)
        if (url.hostname or "") in self._names and caller.port in (None, _port_of(url)):
            return None
        return Response("Invalid Host header", status=403)

    def _is_call(self, request: Request) -> bool:
        headers = request.headers
        media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
        is_json = request.method == "POST" and media_type == "application/json"
        return is_json and self._has_token(request)

    def _has_token(self, request: Request) -> bool:
        given = (request.headers.get(TOKEN_FIELD) or "").encode()
        return hmac.compare_digest(given, self._api.token.encode())


def _foreign_site(request: Request) -> Response | None:
    """Return the refusal of a request that another site makes a browser send."""
    url = urlsplit(request.url)
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"{url.scheme}://{url.netloc.lower()}":
        return Response("Invalid Origin header", status=403)
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITES:
        return Response("Invalid Origin header", status=403)
    return None


def _port_of(url: SplitResult) -> int:
    """Return the port that a URL names or means; 0 for one that is no port."""
    try:
        return url.port or _DEFAULT_PORTS[url.scheme]
    except ValueError:
        return 0
