"""The entry point: what happens to a request before a tenant's object sees it.

    limits → request id, trace → CORS preflight → path → authenticate → tenant → forward

It is stateless but for a few seconds' memory of verdicts: whoever shows the same again is the same. It
strips what a client must not claim and tells the tenant's gateway object what it established in
`X-Gateway-Context`, by `fetch`, because RPC can't carry a WebSocket.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
from workers import Request, Response, WorkerEntrypoint

from dohost.clock import Clock, Entropy, SystemClock, SystemEntropy
from dohost.gateway.address_limits import AddressLimits, RateLimitBinding
from dohost.gateway.auth import Authenticator
from dohost.gateway.bodies import is_over
from dohost.gateway.builtin import is_shared
from dohost.gateway.caller import CONTEXT_HEADER
from dohost.gateway.config import GatewayConfig
from dohost.gateway.control_calls import CONTROL, ControlCalls, Namespace
from dohost.gateway.cors import cors_headers, is_preflight, preflight_headers
from dohost.gateway.exchange import header_map
from dohost.gateway.headers import claimed_identity, request_id, traceparent_of
from dohost.gateway.identity import NS_PER_MS, Standing, encode_context, encode_standing
from dohost.gateway.jwks import KeySets
from dohost.gateway.jwks_fetch import NoStore, fetch_jwks
from dohost.gateway.paths import BadPath, CanonicalPath, request_target
from dohost.gateway.principal import Principal
from dohost.gateway.problems import Problem, problem
from dohost.gateway.routes import PORT
from dohost.gateway.settings import secret_of, secrets_named, settings_of
from dohost.gateway.shortcuts import Known, Shortcuts, shown_of
from dohost.gateway.tenants import (
    TENANT_HEADER,
    TIER_HEADER,
    PeerFacts,
    Tenancy,
    derive_tenant,
    ip_key,
)
from dohost.memo import Memo
from dohost.telemetry import Log, stderr_log

CLIENT_IP = "cf-connecting-ip"
ADDRESS_BINDING = "GATEWAY_IP"
PLACES_MAX = 4_096
PATHS_MEMOISED_MAX = 1_024
# All that authentication and tenancy see of a request, so a verdict holds for whoever shows the same.
DECIDING = ("authorization", "x-api-key", CLIENT_IP, "host", TENANT_HEADER, TIER_HEADER)
Headers = Mapping[str, str]
Shown = tuple[str | None, ...]
Choose = Callable[[Request, Principal], Awaitable[str | None]]


class Fetcher(Protocol):
    """The tenant's gateway object."""

    def fetch(self, request: Request) -> Awaitable[Response]: ...


class GatewayNamespace(Namespace, Protocol):
    """The gateway's Durable Object binding."""

    def idFromName(self, name: str) -> object: ...


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request with what is known about it before anybody is authenticated."""

    request: Request
    path: CanonicalPath
    headers: Headers
    shown: Shown
    request_id: str
    traceparent: str

    def facts(self) -> Headers:
        """Return the fields that decide who calls."""
        pairs = zip(DECIDING, self.shown, strict=True)
        return {name: value for name, value in pairs if value is not None}

    def kept(self) -> dict[str, str]:
        """Return the fields that the gateway object sees: all but what a client must not claim."""
        kept = dict(self.headers)
        for name in claimed_identity(tuple(kept)):
            del kept[name]
        return kept


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a caller's requests go, and what is told there; to be found anew from `until_ns` on."""

    shard: str
    object_id: str
    standing: str
    until_ns: int | None


class Entry:
    """What requests of one Worker share: configuration, authenticator, verdicts."""

    def __init__(
        self, env: object, binding: str, *, clock: Clock, entropy: Entropy, log: Log
    ) -> None:
        self.config: GatewayConfig = settings_of(env).config
        self.clock = clock
        self.entropy = entropy
        self._env = env
        self._namespace = cast("GatewayNamespace", getattr(env, binding))
        self.shortcuts = Shortcuts(env, clock=clock)
        auth = self.config.auth
        self.control = ControlCalls(self._namespace, ttl_s=auth.verdict_ttl_s, clock=clock)
        names = {each.secret_env for each in auth.issuers if each.secret_env}
        self._authenticator = Authenticator(
            auth,
            secrets=secrets_named(env, frozenset({*names, auth.key_pepper_env})),
            key_sets=KeySets(fetch_jwks, NoStore(), clock=clock, log=log),
            keys=self.control.key,
            clock=clock,
        )
        self._addresses = AddressLimits(
            self.config.limiter,
            binding=cast("RateLimitBinding | None", getattr(env, ADDRESS_BINDING, None)),
            clock=clock,
            log=log,
        )
        self._shared_paths: Memo[bool] = Memo(entries_max=PATHS_MEMOISED_MAX)
        self._places: dict[Shown, Place] = {}
        self._generation = 0

    def arrive(self, request: Request) -> Arrival | Response:
        """Check a request's size and path and give it its ids; preflights are answered here."""
        headers = header_map(request)
        made = request_id(headers.get("x-request-id"), clock=self.clock, entropy=self.entropy)
        refused = self._oversized(request, headers)
        if refused is not None:
            return self.refuse(refused, headers, request_id=made)
        if "origin" in headers and is_preflight(str(request.method), headers):
            fields = (*preflight_headers(self.config.cors, headers), ("X-Request-Id", made))
            return Response(None, status=204, headers=list(fields))
        path = request_target(request.url).path
        if isinstance(path, BadPath):
            return self.refuse(problem("bad-path", path.reason), headers, request_id=made)
        return Arrival(
            request=request,
            path=path,
            headers=headers,
            shown=tuple(map(headers.get, DECIDING)),
            request_id=made,
            traceparent=traceparent_of(headers, entropy=self.entropy),
        )

    def refuse(self, told: Problem, headers: Headers, *, request_id: str) -> Response:
        """Return a problem with the fields that every answer carries."""
        more = (
            *cors_headers(self.config.cors, headers.get("origin")),
            ("X-Request-Id", request_id),
        )
        full = msgspec.structs.replace(told, headers=(*told.headers, *more))
        return full.to_response(request_id=request_id)

    def administrator(self, arrival: Arrival) -> Principal | None:
        """Return the administrator if the request shows the admin token."""
        token = secret_of(self._env, self.config.admin.token_env)
        scheme, _, credential = arrival.headers.get("authorization", "").partition(" ")
        if token is None or scheme.lower() != "bearer" or not _is_same(credential.strip(), token):
            return None
        # Which tenant's limits, circuits and cache the administrator looks at or resets.
        query = parse_qs(urlsplit(arrival.request.url).query, errors="replace")
        return Principal(
            kind="admin",
            subject="admin",
            scopes=frozenset({self.config.admin.scope}),
            tenant=query.get("tenant", [None])[-1],
        )

    async def tenancy(self, facts: Headers, principal: Principal) -> Tenancy | Problem:
        """Return whose request it is."""
        peer = PeerFacts(
            client_ip=facts.get(CLIENT_IP, ""),
            host=PORT.sub("", facts.get("host", "")),
        )
        runtime = {}
        if principal.tenant is not None and principal.tenant not in self.config.tenants:
            made = await self.control.tenant(principal.tenant)
            if made is not None:
                runtime[principal.tenant] = made
        return derive_tenant(self.config, principal, headers=facts, peer=peer, runtime=runtime)

    def known_place(self, shown: Shown) -> Place | None:
        """Return the place that was found for the same facts, while its verdicts may still be used."""
        generation = self.control.generation()
        if generation != self._generation:
            self._generation = generation
            self._places.clear()
            return None
        place = self._places.get(shown)
        if place is None or place.until_ns is None or self.clock.realtime_ns() < place.until_ns:
            return place
        return None

    async def find_place(self, arrival: Arrival, choose: Choose | None) -> Place | Problem:
        """Find who calls, for whom, and where that is served; remember what facts alone decided."""
        generation = self.control.generation()
        facts = arrival.facts()
        address = ip_key(facts.get(CLIENT_IP, ""))
        # Whoever was known until lately, and every caller of a program that places each anew, passes.
        if choose is None and arrival.shown not in self._places:
            has_credential = "authorization" in facts or "x-api-key" in facts
            refused = await self._addresses.admit(address, has_credential=has_credential)
            if refused is not None:
                return refused
        administrator = self.administrator(arrival)
        principal = administrator or await self._authenticator.authenticate(facts)
        if isinstance(principal, Problem):
            self._addresses.refused(address)
            return principal
        chosen = None if choose is None else await choose(arrival.request, principal)
        if chosen is not None:
            principal = msgspec.structs.replace(principal, tenant=chosen)
        tenancy = await self.tenancy(facts, principal)
        if isinstance(tenancy, Problem):
            return tenancy
        place = place_of(
            tenancy,
            principal,
            object_id=str(self._namespace.idFromName(tenancy.shard)),
            client_ip=facts.get(CLIENT_IP, ""),
        )
        # An administrator's tenant is in the URL, a chosen one in code.
        if administrator is None and choose is None:
            self._remember(arrival.shown, place, generation=generation)
        return place

    def forward(self, arrival: Arrival, place: Place) -> Awaitable[Response]:
        """Send the request to the gateway object that serves it."""
        path = arrival.path.text
        shared = self._shared_paths.get(path)
        if shared is None:
            shared = is_shared(self.config, path)
            self._shared_paths.put(path, shared)
        context = encode_context(
            place.standing,
            request_id=arrival.request_id,
            traceparent=arrival.traceparent,
            deadline_ms=self.clock.realtime_ns() // NS_PER_MS + self.config.limits.timeout_ms,
        )
        kept = arrival.kept()
        kept[CONTEXT_HEADER] = context
        stub = cast("Fetcher", self._namespace.getByName(CONTROL if shared else place.shard))
        return stub.fetch(Request(arrival.request, headers=kept))

    def learn(self, arrival: Arrival, place: Place) -> None:
        """Take up what the gateway object has offered for requests like the one that it answered."""
        offer = self.shortcuts.latest(place.object_id)
        if offer is None or self._places.get(arrival.shown) is not place:
            return
        request = arrival.request
        if offer.shown == shown_of(place.standing, request.url, arrival.kept()):
            known = Known(offer=offer, generation=self._generation, until_ns=place.until_ns)
            self.shortcuts.learn(request, known)

    def _remember(self, shown: Shown, place: Place, *, generation: int) -> None:
        """Keep what was found, unless the generation in which the finding began is over."""
        if not generation == self.control.generation() == self._generation:
            return
        if len(self._places) >= PLACES_MAX:
            del self._places[next(iter(self._places))]
        self._places[shown] = place

    def _oversized(self, request: Request, headers: Headers) -> Problem | None:
        limits = self.config.limits
        if len(request.url) > limits.url_bytes_max:
            return problem("uri-too-long", f"The URL is over {limits.url_bytes_max} bytes.")
        size = len("".join(headers)) + len("".join(headers.values()))
        if size > limits.header_bytes_max or len(headers) > limits.header_lines_max:
            return problem("headers-too-large")
        if is_over(headers.get("content-length", ""), limits.body_bytes_max):
            return problem("body-too-large", f"The body is over {limits.body_bytes_max} bytes.")
        return None


class GatewayEntrypoint(WorkerEntrypoint):
    """The Worker's `Default`; `entrypoint` makes one for a binding."""

    binding: ClassVar[str]
    clock: ClassVar[Clock] = SystemClock()
    entropy: ClassVar[Entropy] = SystemEntropy()
    log: ClassVar[Log] = stderr_log()
    _entry: ClassVar[Entry | None] = None

    async def fetch(self, request: Request) -> Response:
        """Authenticate the request, derive its tenant and forward it to the tenant's object."""
        entry = self._shared()
        choose = None if type(self).tenant_of is GatewayEntrypoint.tenant_of else self.tenant_of
        if choose is None:
            answer = entry.shortcuts.answer(request, entry.control.generation())
            if answer is not None:
                return answer
        arrival = entry.arrive(request)
        if isinstance(arrival, Response):
            return arrival
        place = None if choose else entry.known_place(arrival.shown)
        if place is None:
            found = await entry.find_place(arrival, choose)
            if isinstance(found, Problem):
                return entry.refuse(found, arrival.headers, request_id=arrival.request_id)
            place = found
        response = await entry.forward(arrival, place)
        entry.learn(arrival, place)
        return response

    async def tenant_of(self, request: Request, principal: Principal) -> str | None:
        """Override to choose the tenant of an authenticated request; None derives it by the rules."""
        return None

    def _shared(self) -> Entry:
        """Return what this class's requests share, built with the first of them."""
        cls = type(self)
        if cls._entry is None:
            cls._entry = Entry(
                self.env, self.binding, clock=self.clock, entropy=self.entropy, log=self.log
            )
        return cls._entry


def entrypoint(binding: str = "GATEWAY_DO") -> type[GatewayEntrypoint]:
    """Return the `Default` class of a Worker whose gateway objects are bound as `binding`."""
    return type("Default", (GatewayEntrypoint,), {"binding": binding})


def place_of(tenancy: Tenancy, principal: Principal, *, object_id: str, client_ip: str) -> Place:
    """Return where a caller of a tenant is served, and what is told there."""
    standing = Standing(
        tenant=tenancy.tenant,
        tier=tenancy.tier,
        plan=tenancy.plan,
        source=tenancy.source,
        limit_key=tenancy.limit_key,
        # Claims stay here: services are told subject and scopes, not the whole token.
        principal=msgspec.structs.replace(principal, claims={}, until_ns=None),
        client_ip=client_ip,
    )
    return Place(
        shard=tenancy.shard,
        object_id=object_id,
        standing=encode_standing(standing),
        until_ns=principal.until_ns,
    )


def _is_same(given: str, secret: str) -> bool:
    """Compare in constant time; digests, because text outside ASCII can't be compared."""
    digests = [hashlib.sha256(each.encode()).digest() for each in (given, secret)]
    return hmac.compare_digest(*digests)
