"""Configuration: `env.GATEWAY` and `env.GATEWAY_*` become one frozen `GatewayConfig`.

Variables arrive as dicts, as JSON text or as proxies with `to_py()`; their top-level tables are
merged. Decoding never raises for what a person wrote: it returns either the configuration or every
problem found, each with its path and, where a near name exists, a suggestion. Secrets are never
read here: tables only name the variables that hold them, and the reserved names below are skipped
even if their text looks like JSON. Short forms are spelled out before tables are read, so what
follows sees one form only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from dohost.gateway.config_check import check
from dohost.gateway.config_read import Findings, camel, join, kind_of, read_table
from dohost.gateway.config_tables import (
    AdminConfig,
    AggregateConfig,
    AuthConfig,
    BreakerConfig,
    CacheConfig,
    ConfigProblem,
    CorsConfig,
    GraphqlConfig,
    LimiterConfig,
    LimitsConfig,
    MirrorConfig,
    Positive,
    RouteConfig,
    ServiceConfig,
    TenancyConfig,
    TenantConfig,
    Tier,
    VersionsConfig,
)

__all__ = ["RESERVED", "TIERS", "ConfigProblem", "GatewayConfig", "decode"]

RESERVED = frozenset({"GATEWAY_DO", "GATEWAY_IP", "GATEWAY_ADMIN_TOKEN", "GATEWAY_KEY_PEPPER"})
TIERS: Mapping[str, Tier] = {
    "free": Tier(rpm=100, burst=10),
    "starter": Tier(rpm=1_000, burst=50),
    "pro": Tier(rpm=10_000, burst=200),
    "enterprise": Tier(rpm=100_000, burst=1_000),
}
BINDING = re.compile(r"[A-Z][A-Z0-9_]*")
Plain = dict[str, object]


class GatewayConfig(Struct, frozen=True, kw_only=True):
    """Everything the gateway was told. `hash` identifies the content, for memos."""

    services: Mapping[str, ServiceConfig] = {}
    routes: tuple[RouteConfig, ...] = ()
    rate_limits: Mapping[str, Tier] = msgspec.field(default_factory=lambda: dict(TIERS))
    limiter: LimiterConfig = LimiterConfig()
    circuit_breaker: BreakerConfig = BreakerConfig()
    auth: AuthConfig = AuthConfig()
    tenants: Mapping[str, TenantConfig] = {}
    tenancy: TenancyConfig = TenancyConfig()
    cache: CacheConfig = CacheConfig()
    aggregate: AggregateConfig = AggregateConfig()
    versions: VersionsConfig = VersionsConfig()
    graphql: GraphqlConfig = GraphqlConfig()
    cors: CorsConfig = CorsConfig()
    limits: LimitsConfig = LimitsConfig()
    mirror: Mapping[str, MirrorConfig] = {}
    admin: AdminConfig = AdminConfig()
    sharding: Literal["tenant", "single"] = "tenant"
    shards: Positive = 1
    builtin_prefix: str = ""
    strict_wildcard: bool = False
    demo: bool = False
    hash: str = ""


def decode(
    env_vars: Mapping[str, object], *, bindings: frozenset[str] | None = None
) -> GatewayConfig | tuple[ConfigProblem, ...]:
    """Return the configuration in `env_vars`, or every problem found in it.

    `bindings` are the names of Durable Object bindings that exist; without them a binding's
    existence isn't checked.
    """
    findings = Findings()
    merged = merge_variables(env_vars, findings)
    digest = hashlib.sha256(json.dumps(merged, sort_keys=True, default=str).encode()).hexdigest()
    spelled = spell_out(merged, findings)
    config = read_table(
        GatewayConfig, {**spelled, "hash": digest}, path="GATEWAY", findings=findings
    )
    if config is not None:
        check(config, bindings, findings=findings)
    if findings.problems or config is None:
        return tuple(findings.problems)
    return config


def merge_variables(env_vars: Mapping[str, object], findings: Findings) -> Plain:
    """Return the tables of all gateway variables as one plain dict with snake_case top keys."""
    merged: Plain = {}
    names = {camel(name): name for name in GatewayConfig.__struct_fields__}
    for variable in sorted(env_vars):
        if variable in RESERVED or not (variable == "GATEWAY" or variable.startswith("GATEWAY_")):
            continue
        tables = plain_tables(variable, env_vars[variable], findings=findings)
        for key, value in tables.items():
            name = names.get(key, key)
            held = merged.get(name)
            if name == "hash":
                findings.add(f"{variable}.hash", "unknown key.")
            elif name not in merged:
                merged[name] = value
            elif isinstance(held, Mapping) and isinstance(value, Mapping):
                for twice in sorted(held.keys() & value.keys()):
                    findings.add(join(f"{variable}.{name}", str(twice)), "is set twice.")
                merged[name] = {**held, **value}
            else:
                findings.add(f"{variable}.{name}", "is set twice.")
    return merged


def plain_tables(variable: str, value: object, *, findings: Findings) -> Plain:
    """Return a variable's tables; a `GATEWAY_*` that isn't a table or JSON text isn't ours."""
    to_py = getattr(value, "to_py", None)
    if callable(to_py):
        value = to_py()
    if isinstance(value, str):
        if variable != "GATEWAY" and not value.lstrip().startswith("{"):
            return {}
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            findings.add(variable, f"is not JSON: {error}.")
            return {}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if variable == "GATEWAY":
        findings.add(variable, f"expected a table, got {kind_of(value)}.")
    return {}


def spell_out(merged: Plain, findings: Findings) -> Plain:
    """Return the tables with every short form in its long form."""
    tables = dict(merged)
    services = named(tables, "services", findings=findings)
    tables["services"] = {name: service_table(name, item) for name, item in services.items()}
    tables["tenants"] = {
        name: {"tier": item} if isinstance(item, str) else item
        for name, item in named(tables, "tenants", findings=findings).items()
    }
    tables["mirror"] = {
        name: {"service": item} if isinstance(item, str) else item
        for name, item in named(tables, "mirror", findings=findings).items()
    }
    default_tiers = {name: {"rpm": tier.rpm, "burst": tier.burst} for name, tier in TIERS.items()}
    tables["rate_limits"] = {**default_tiers, **named(tables, "rate_limits", findings=findings)}
    tables["routes"] = spell_out_routes(tables, findings)
    return tables


def named(tables: Plain, table: str, *, findings: Findings) -> Plain:
    """Return a table of named things, empty if it is absent or wrong."""
    value = tables.get(table, {})
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    findings.add(f"GATEWAY.{table}", f"expected a table, got {kind_of(value)}.")
    return {}


def service_table(name: str, item: object) -> object:
    """Return a service's long form, its name inside."""
    if isinstance(item, str):
        return {"name": name, "binding": item}
    return {"name": name, **item} if isinstance(item, Mapping) else item


def spell_out_routes(tables: Plain, findings: Findings) -> list[object]:
    """Return the routes in long form; a route to a bare binding makes a service of that name."""
    services = tables["services"]
    assert isinstance(services, dict)
    by_binding: dict[object, str] = {}
    for name, item in services.items():
        if isinstance(item, Mapping) and "binding" in item:
            by_binding.setdefault(item["binding"], name)
    routes: list[object] = []
    for pattern, item in named(tables, "routes", findings=findings).items():
        path = join("GATEWAY.routes", pattern)
        route = {"service": item} if isinstance(item, str) else item
        if not isinstance(route, Mapping):
            findings.add(path, f"expected a service's name or a table, got {kind_of(item)}.")
            continue
        target = route.get("service")
        if isinstance(target, str) and target not in services:
            if target in by_binding:
                route = {**route, "service": by_binding[target]}
            elif BINDING.fullmatch(target):
                services[target] = {"name": target, "binding": target}
            else:
                known = [*services, *map(str, by_binding)]
                findings.add(path, f"no service {target!r}.", word=target, known=known)
                continue
        routes.append({"pattern": pattern, **route})
    return routes
