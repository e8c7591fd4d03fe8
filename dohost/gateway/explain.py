"""`POST /api/explain`: what would become of a request, without sending or consuming anything."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from dohost.gateway.answers import json_answer
from dohost.gateway.auth import authorise
from dohost.gateway.bodies import read_json
from dohost.gateway.cache import Fresh, Stale
from dohost.gateway.dispatch import NS_PER_MS
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.paths import BadPath, CanonicalPath, canonical_path
from dohost.gateway.plan import route_target
from dohost.gateway.problems import Problem, problem
from dohost.gateway.rate_limit import Allowed
from dohost.gateway.routes import Match, RequestFacts
from dohost.gateway.versions import resolve_version


class ExplainBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to explain: `path` may have a query; header names in any case."""

    method: str = "GET"
    path: str
    headers: dict[str, str] = {}


async def explain(
    parts: Parts, exchange: Exchange, parameters: Mapping[str, str]
) -> Answer | Problem:
    """Explain one request, as the caller would send it."""
    given = await read_json(exchange.request, parts.config.limits)
    if isinstance(given, Problem):
        return given
    try:
        body = msgspec.convert(given, ExplainBody)
    except msgspec.ValidationError as error:
        return problem("bad-request", f"The body is not as it should be: {error}.")
    # Not `urlsplit`: it would read a host after two slashes, and raises for what is none.
    asked_path, _, query_text = body.path.partition("?")
    path = canonical_path(asked_path)
    if isinstance(path, BadPath):
        return problem("bad-path", path.reason)
    headers = {name.lower(): value for name, value in body.headers.items()}
    asked = msgspec.structs.replace(
        exchange, method=body.method.upper(), path=path, query_text=query_text, headers=headers
    )
    return json_answer({**_caller(parts, asked), **_route(parts, asked, path)})


def _caller(parts: Parts, asked: Exchange) -> dict[str, object]:
    identity = asked.identity
    now_ns = parts.clock.realtime_ns()
    verdict = parts.limits.peek(identity, now_ns)
    return {
        "tenant": {"id": identity.tenant, "source": identity.source, "tier": identity.tier},
        "principal": {
            "kind": identity.principal.kind,
            "subject": identity.principal.subject,
            "scopes": sorted(identity.principal.scopes),
        },
        "limiter": {
            "allowed": isinstance(verdict, Allowed),
            **parts.limits.status(identity, now_ns),
        },
    }


def _route(parts: Parts, asked: Exchange, path: CanonicalPath) -> dict[str, object]:
    query = dict(parse_qsl(asked.query_text, keep_blank_values=True, errors="replace"))
    facts = RequestFacts(host=asked.headers.get("host", ""), headers=asked.headers, query=query)
    table = parts.settings.routes
    told: dict[str, object] = {
        "path": path.raw,
        "routes": msgspec.to_builtins(table.explain(asked.method, path, facts=facts)),
    }
    match = table.match(asked.method, path, facts=facts)
    if not isinstance(match, Match):
        return {**told, "route": None, "outcome": type(match).__name__}
    version = resolve_version(
        parts.config.versions,
        path=path.raw,
        headers=asked.headers,
        query=query,
        now_ns=parts.clock.realtime_ns(),
    )
    told["version"] = version.as_dict() if isinstance(version, Problem) else version.version
    forbidden = authorise(
        asked.identity.principal,
        required=match.route.scopes,
        method=asked.method,
        config=parts.config.auth,
        route_auth=match.route.auth,
    )
    told["route"] = {
        "pattern": match.route.pattern,
        "service": match.route.service,
        "parameters": dict(match.params),
        "rest": match.rest,
    }
    told["authorised"] = True if forbidden is None else forbidden.as_dict()
    return {**told, **_upstream(parts, asked, match, version=str(told["version"]))}


def _upstream(parts: Parts, asked: Exchange, match: Match, *, version: str) -> dict[str, object]:
    target = route_target(asked, match, parts.config.services)
    if isinstance(target, Problem):
        return {"upstream": target.as_dict()}
    service = target.service
    now_ms = parts.clock.realtime_ns() // NS_PER_MS
    key = parts.planner.cache_key(asked, match, version)
    found = parts.cache.peek(key, parts.clock.realtime_ns())
    verdict = (
        "fresh" if isinstance(found, Fresh) else "stale" if isinstance(found, Stale) else "miss"
    )
    return {
        "upstream": {
            "service": service.name,
            "binding": service.binding,
            "url": service.url,
            "object": None if service.binding is None else target.object_name,
            "timeoutMs": match.route.timeout_ms or service.timeout_ms,
        },
        "breaker": parts.breakers.status(service.name, service.circuit_breaker, now_ms=now_ms),
        "cache": {"key": key, "verdict": verdict},
    }
