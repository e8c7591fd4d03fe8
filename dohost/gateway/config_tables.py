"""The tables of the gateway's configuration, as frozen values.

Each class is one table of `env.GATEWAY`; each field's default is the default of the product. The
names are the snake_case keys; `config.py` also accepts their camelCase forms and checks every leaf
against the types written here, so the annotations are the rules. Durations say their unit.
This file knows nothing about where configuration comes from and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
SERVICE_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
TenantId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Scope = Literal["tenant", "shared"]
PartitionScope = Literal["public", "tenant", "principal"]
LimitAlgorithm = Literal["gcra", "window", "both"]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"
]


class ConfigProblem(Struct, frozen=True, kw_only=True):
    """One thing wrong in the configuration: where, what, and what was probably meant."""

    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = "" if self.suggestion is None else f" Did you mean {self.suggestion!r}?"
        return f"{self.path}: {self.message}{hint}"


class BreakerConfig(Struct, frozen=True, kw_only=True):
    """Circuit breaker: `threshold` failures open it, `half_open_max` successes close it again."""

    threshold: Positive = 5
    timeout_ms: Positive = 30_000
    half_open_max: Positive = 3
    window_ms: Positive = 60_000
    lease_grace_ms: Whole = 1_000
    scope: Literal["service", "object", "both"] = "both"
    mode: Literal["consecutive", "rate"] = "consecutive"
    rate_window: Literal["count", "time"] = "count"
    size: Positive = 100
    min_calls: Positive = 100
    failure_rate: Share = 0.5
    slow_call_ms: Positive | None = None
    slow_rate: Share = 1.0
    backoff: Literal["none", "double"] = "none"
    timeout_ms_max: Positive = 300_000
    objects_max: Positive = 10_000


class ServiceConfig(Struct, frozen=True, kw_only=True):
    """An upstream: a Durable Object binding, or an HTTP origin."""

    name: str
    binding: str | None = None
    url: str | None = None
    scope: Scope = "tenant"
    object: str = "main"
    timeout_ms: Positive = 5_000
    circuit_breaker: BreakerConfig | None = None
    aggregate: bool = True


class RouteCache(Struct, frozen=True, kw_only=True):
    """Caching of one route: lifetime in seconds, whose copies are apart, and tags."""

    ttl: Whole | None = None
    scope: PartitionScope | None = None
    tags: tuple[str, ...] = ()
    stale_while_revalidate: Whole = 0
    stale_if_error: Whole = 0


class RouteConfig(Struct, frozen=True, kw_only=True):
    """One route; `pattern` is the key it was written under, method included."""

    pattern: str
    service: str
    rewrite: str | None = None
    object: str | None = None
    scopes: tuple[str, ...] = ()
    auth: Literal["default", "required", "none"] = "default"
    cache: RouteCache | None = None
    hosts: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    priority: int = 0
    cost: Whole = 1
    timeout_ms: Positive | None = None
    version: str | None = None
    inspect: bool = False
    mirror: str | None = None


class Tier(Struct, frozen=True, kw_only=True):
    """A plan: sustained requests per minute (`None`: unlimited) and the bucket's capacity.

    The rate is counted in whole nanoseconds per request, the capacity is told as a structured Integer.
    """

    rpm: Annotated[int, Meta(ge=0, le=60_000_000_000)] | None = None
    burst: Annotated[int, Meta(ge=1, le=999_999_999_999_999)] = 10


class LimiterConfig(Struct, frozen=True, kw_only=True):
    """How tiers are counted; tiers themselves are in `rate_limits`."""

    algorithm: LimitAlgorithm = "gcra"
    aggregate_cost: Literal["perCall", 1] = "perCall"
    cache_hit_cost: Whole = 1
    legacy_headers: bool = True
    keys_max: Positive = 100_000
    status: Tier = Tier(rpm=600, burst=60)
    pre_auth: Tier = Tier(rpm=6_000, burst=600)
    failed_auth: Tier = Tier(rpm=30, burst=10)


class IssuerConfig(Struct, frozen=True, kw_only=True):
    """A party whose JWTs are believed, and with which keys. Secrets are named, never written here."""

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[JwtAlgorithm, ...]
    jwks_url: str | None = None
    jwks: Mapping[str, object] | None = None
    public_key: str | None = None
    secret_env: str | None = None
    leeway_s: Annotated[int, Meta(ge=0, le=60)] = 30
    max_age_s: Positive | None = None
    typ: str | None = None
    tenant_claim: str = "tenant"
    tier_claim: str = "tier"
    scope_claim: str = "scope"
    tier_claim_trusted: bool = False
    jti_denied: tuple[str, ...] = ()


class ApiKeyConfig(Struct, frozen=True, kw_only=True):
    """A read-only API key: its id, as it stands in the key, and the digest of the whole key."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9]{4,32}\Z")]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    tenant: TenantId
    tier: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at_s: Whole | None = None
    disabled: bool = False


class AuthConfig(Struct, frozen=True, kw_only=True):
    """Who may call. `anonymous` unset means "all" until an issuer or a key exists, then "none"."""

    issuers: tuple[IssuerConfig, ...] = ()
    api_keys: tuple[ApiKeyConfig, ...] = ()
    anonymous: Literal["all", "read", "none"] | None = None
    realm: str = "dohost"
    key_env: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,16}\Z")] = "live"
    key_pepper_env: str = "GATEWAY_KEY_PEPPER"
    verdict_ttl_s: Whole = 5


class TenantConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about a tenant: its plan, and limits of its own that replace the plan's."""

    tier: str = "free"
    limits: Tier | None = None
    disabled: bool = False


class TenancyConfig(Struct, frozen=True, kw_only=True):
    """Where a request's tenant may come from besides its credential."""

    hosts: Mapping[str, TenantId] = {}
    mtls_subjects: Mapping[str, TenantId] = {}
    trust_tenant_headers: bool = False
    trusted_proxies: tuple[str, ...] = ()
    untrusted_headers: Literal["ignore", "refuse"] = "ignore"
    anonymous_tier: str = "free"


class CacheConfig(Struct, frozen=True, kw_only=True):
    """Response cache: sizes in bytes, lifetimes in seconds."""

    enabled: bool = True
    ttl: Whole = 0
    negative_ttl: Whole = 0
    stale_while_revalidate: Whole = 0
    stale_if_error: Whole = 0
    heuristic: bool = False
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    honour_request_directives: bool = True
    sort_query: bool = False
    store_cookies: bool = False
    entry_bytes_max: Positive = 1_048_576
    entries_max: Positive = 10_000
    bytes_max: Positive = 67_108_864
    hit_for_miss_s: Whole = 2


class AggregateConfig(Struct, frozen=True, kw_only=True):
    """`POST /api/aggregate`."""

    enabled: bool = True
    calls_max: Positive = 20
    concurrency_max: Positive = 8
    timeout_ms: Positive = 10_000
    duplicates: Literal["refuse", "list", "suffix"] = "refuse"
    unknown_members: Literal["refuse", "ignore"] = "refuse"


class VersionConfig(Struct, frozen=True, kw_only=True):
    """One API version; dates are ISO 8601 (`2026-01-31` or with time and zone)."""

    prefix: str | None = None
    deprecated: str | None = None
    sunset: str | None = None
    link: str | None = None
    successor: str | None = None


class VersionsConfig(Struct, frozen=True, kw_only=True):
    """Which versions exist and how a request names one."""

    supported: Mapping[str, VersionConfig] = {}
    default: str | None = None
    headers: tuple[str, ...] = ("API-Version", "X-API-Version", "Accept-Version")
    media_type: bool = True
    query: str | None = "api-version"
    gone_after_sunset: bool = True


class GraphqlConfig(Struct, frozen=True, kw_only=True):
    """`/graphql`; the limits bound what one document may cost."""

    enabled: bool = True
    introspection: bool = True
    ide: bool = True
    depth_max: Positive = 15
    aliases_max: Positive = 50
    tokens_max: Positive = 5_000
    directives_max: Positive = 50
    cost_max: Positive = 1_000
    batch_max: Positive = 10


class CorsConfig(Struct, frozen=True, kw_only=True):
    """Cross-origin access; no origin is allowed until one is listed."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    headers: tuple[str, ...] = ("Authorization", "Content-Type", "X-API-Key", "API-Version")
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age_s: Whole = 600
    private_network: bool = False


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """What one request may be."""

    body_bytes_max: Positive = 1_048_576
    url_bytes_max: Positive = 8_192
    header_bytes_max: Positive = 16_384
    header_lines_max: Positive = 100
    json_depth_max: Positive = 64
    json_keys_max: Positive = 10_000
    timeout_ms: Positive = 30_000
    concurrent_max: Positive | None = None


class MirrorConfig(Struct, frozen=True, kw_only=True):
    """Shadow traffic: the share of a route's requests that is also sent to another service."""

    service: str
    share: Share = 1.0


class AdminConfig(Struct, frozen=True, kw_only=True):
    """Administrative endpoints."""

    token_env: str = "GATEWAY_ADMIN_TOKEN"
    scope: str = "gateway:admin"
