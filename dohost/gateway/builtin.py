"""The gateway's own paths: which handler serves which, before any configured route.

A handler gets the object's parts, the exchange and the path's parameters, and returns an answer or a
problem. `SHARED` are the paths that the object `$control` serves, for all tenants; the entry point
chooses the object by it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from dohost.gateway import admin, api_paths, explain, landing, openapi, status
from dohost.gateway.config import GatewayConfig
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem, problem

Handler = Callable[[Parts, Exchange, Mapping[str, str]], Awaitable[Answer | Problem]]
PARAMETER = re.compile(r"\{(\w+)\}")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The handler of a built-in path."""

    handler: Handler
    parameters: Mapping[str, str]


ROWS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/api/aggregate", api_paths.aggregate),
    ("POST", "/graphql", api_paths.graphql),
    ("GET", "/graphql", api_paths.graphql),
    ("GET", "/api/rate-limit/status", status.rate_limit),
    ("GET", "/api/circuit-breaker/status", status.circuit_breakers),
    ("POST", "/api/circuit-breaker/reset/{service}", admin.reset_breaker),
    ("POST", "/api/circuit-breaker/force/{service}", admin.force_breaker),
    ("GET", "/api/cache/stats", status.cache_stats),
    ("POST", "/api/cache/clear", admin.clear_cache),
    ("POST", "/api/explain", explain.explain),
    ("GET", "/api/keys", admin.list_keys),
    ("POST", "/api/keys", admin.create),
    ("POST", "/api/keys/{id}/rotate", admin.rotate),
    ("DELETE", "/api/keys/{id}", admin.revoke),
    ("PUT", "/api/tenants/{id}", admin.put_tenant),
    ("GET", "/api/versions", status.versions),
    ("GET", "/health", status.health),
    ("GET", "/health/live", status.health),
    ("GET", "/health/ready", status.ready),
    ("GET", "/metrics", status.metrics),
    ("GET", "/openapi.json", openapi.document),
    ("GET", "/docs", landing.docs),
    ("GET", "/problems/{slug}", landing.problem_page),
    ("GET", "/", landing.home),
)
SHARED = re.compile(
    r"/(api/(keys|tenants|versions)(/.*)?|health(/\w+)?|metrics|openapi\.json|docs|problems/.*)?"
)


class BuiltinPaths:
    """The table, compiled: literal paths by dictionary, the few with parameters by pattern."""

    def __init__(self, rows: tuple[tuple[str, str, Handler], ...]) -> None:
        self._literal: dict[str, dict[str, Handler]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Handler]]] = {}
        # Most paths begin like none of the patterns, and need no further look.
        self._openings = tuple({path.partition("{")[0] for _, path, _ in rows if "{" in path})
        for verb, path, handler in rows:
            if "{" not in path:
                self._literal.setdefault(path, {})[verb] = handler
                continue
            pattern = re.compile(PARAMETER.sub(r"(?P<\1>[^/]+)", path))
            self._patterns.setdefault(path, (pattern, {}))[1][verb] = handler

    def find(self, config: GatewayConfig, verb: str, path: str) -> Found | Problem | None:
        """Return the handler, a 405, or None where the path is not built in."""
        if config.builtin_prefix:
            if not path.startswith(config.builtin_prefix):
                return None
            path = path.removeprefix(config.builtin_prefix) or "/"
        parameters: Mapping[str, str] = {}
        handlers = self._literal.get(path)
        if handlers is None:
            if not path.startswith(self._openings):
                return None
            for pattern, held in self._patterns.values():
                if (match := pattern.fullmatch(path)) is not None:
                    handlers, parameters = held, match.groupdict()
                    break
            else:
                return None
        handler = handlers.get("GET" if verb == "HEAD" else verb)
        if handler is not None:
            return Found(handler=handler, parameters=parameters)
        allow = ", ".join(sorted(handlers.keys() | ({"HEAD"} if "GET" in handlers else set())))
        return problem(
            "method-not-allowed", f"{path} answers {allow}.", headers=(("Allow", allow),)
        )


BUILTINS = BuiltinPaths(ROWS)


def is_shared(config: GatewayConfig, path: str) -> bool:
    """Whether the object `$control` serves a path, for all tenants."""
    if config.builtin_prefix:
        if not path.startswith(config.builtin_prefix):
            return False
        path = path.removeprefix(config.builtin_prefix) or "/"
    return SHARED.fullmatch(path) is not None
