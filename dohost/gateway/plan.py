"""What is decided about a routed request before anything is counted or called.

    route → version → authorise → which limits, which key in the cache, which object

All of it follows from who calls, what is asked for and a few fields, so it is decided once for each such
combination and remembered. Only what changes between two equal requests is left to the stages: the
limiter, the cache's contents, the circuits. A `Refusal` ends the request.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dohost.gateway.auth import authorise
from dohost.gateway.cache_keys import http_key, partition
from dohost.gateway.caller import encode_header_start
from dohost.gateway.config_tables import ServiceConfig
from dohost.gateway.exchange import Exchange
from dohost.gateway.limits import Limits
from dohost.gateway.problems import Problem, problem
from dohost.gateway.rate_limit import LimitPolicy
from dohost.gateway.routes import NO_FACTS, Match, MethodNotAllowed, NotFound, RequestFacts
from dohost.gateway.settings import Settings
from dohost.gateway.upstream import Target, target_of
from dohost.gateway.versions import ResolvedVersion, Versions
from dohost.memo import Memo

Header = tuple[str, str]
READS = frozenset({"GET", "HEAD"})
PLANS_MEMOISED_MAX = 2_048
TARGET_CHARS_MEMOISED_MAX = 512


class Plan(Struct, frozen=True, kw_only=True):
    """What a request that may go on will use. `cache_key`: None where the cache has no part in it;
    `caller_start`: what services are told about the caller, but for the request's own ids."""

    match: Match
    version: ResolvedVersion
    policies: tuple[LimitPolicy, ...]
    cache_key: str | None
    target: Target | Problem
    caller_start: str


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a request ends here; `is_charged`: asking for what isn't there costs like anything else."""

    problem: Problem
    headers: tuple[Header, ...] = ()
    is_charged: bool = False


class Planner:
    """Plans the requests of one gateway object."""

    def __init__(self, settings: Settings, versions: Versions, limits: Limits) -> None:
        self._config = settings.config
        self._routes = settings.routes
        self._versions = versions
        self._limits = limits
        self._plans: Memo[Plan | Refusal] = Memo(entries_max=PLANS_MEMOISED_MAX)

    def plan(self, exchange: Exchange, now_ns: int) -> Plan | Refusal:
        """Return the plan of a request, or its refusal."""
        path, query = exchange.path.raw, exchange.query_text
        if self._routes.needs_facts or len(path) + len(query) > TARGET_CHARS_MEMOISED_MAX:
            return self._plan(exchange, now_ns)
        key = (
            exchange.standing,
            exchange.method,
            path,
            query,
            exchange.headers.get("host"),
            *self._versions.deciding(exchange.headers, now_ns),
        )
        known = self._plans.get(key)
        if known is None:
            known = self._plan(exchange, now_ns)
            self._plans.put(key, known)
        return known

    def _plan(self, exchange: Exchange, now_ns: int) -> Plan | Refusal:
        config, identity = self._config, exchange.identity
        match = self._match(exchange)
        if isinstance(match, Problem):
            return Refusal(problem=match, is_charged=True)
        route = match.route
        version = self._versions.resolve(
            exchange.path.raw, headers=exchange.headers, query=exchange.query(), now_ns=now_ns
        )
        if isinstance(version, Problem):
            return Refusal(problem=version)
        forbidden = authorise(
            identity.principal,
            required=route.scopes,
            method=exchange.method,
            config=config.auth,
            route_auth=route.auth,
        )
        if forbidden is not None:
            return Refusal(problem=forbidden, headers=version.headers)
        is_cached = exchange.method in READS and config.cache.enabled
        return Plan(
            match=match,
            version=version,
            policies=self._limits.policies(identity),
            cache_key=self.cache_key(exchange, match, version.version) if is_cached else None,
            target=route_target(exchange, match, config.services),
            caller_start=encode_header_start(identity.caller()),
        )

    def _match(self, exchange: Exchange) -> Match | Problem:
        facts = facts_of(exchange) if self._routes.needs_facts else NO_FACTS
        matched = self._routes.match(exchange.method, exchange.path, facts=facts)
        if isinstance(matched, Match):
            return matched
        if isinstance(matched, MethodNotAllowed):
            allow = ", ".join(matched.allow)
            return problem(
                "method-not-allowed",
                f"{exchange.path.raw} answers {allow}.",
                headers=(("Allow", allow),),
            )
        assert isinstance(matched, NotFound)
        return problem("not-found", f"No route serves {exchange.path.raw}.")

    def cache_key(self, exchange: Exchange, match: Match, version: str | None) -> str:
        """Return the primary key of a request in the cache; variants by Vary are under it."""
        identity, cache = exchange.identity, match.route.cache
        owner = partition(
            cache.scope if cache else None,
            tenant=identity.tenant,
            subject=identity.principal.subject,
        )
        query = f"?{exchange.query_text}" if exchange.query_text else ""
        url = f"http://{exchange.headers.get('host', '')}{exchange.path.raw}{query}"
        return http_key(owner, url, version=version, sort_query=self._config.cache.sort_query)


def facts_of(exchange: Exchange) -> RequestFacts:
    """Return what route matchers besides the path look at."""
    return RequestFacts(
        host=exchange.headers.get("host", ""), headers=exchange.headers, query=exchange.query()
    )


def route_target(
    exchange: Exchange, match: Match, services: Mapping[str, ServiceConfig]
) -> Target | Problem:
    """Return the object that a route's request goes to."""
    service = services[match.route.service]
    return target_of(
        service, exchange.identity.tenant, values=match.params, template=match.route.object
    )
