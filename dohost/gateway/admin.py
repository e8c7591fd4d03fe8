"""Administration: breakers, cache, API keys, tenants.

Everything here needs the admin token, but for clearing one's own cache, which any credential may. What
was done, and by whom, goes to the log. Secrets are shown once, in the answer that makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

from dohost.gateway.answers import json_answer
from dohost.gateway.api_keys import KeyGrant, KeyRecord, create_key, revoke_key, rotate_key
from dohost.gateway.bodies import read_json
from dohost.gateway.cache_groups import plain_tag
from dohost.gateway.config_tables import TenantConfig, TenantId
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem, problem
from dohost.gateway.settings import secret_of
from dohost.gateway.tenant_id import TENANT_ID_RULE, is_tenant_id

NS_PER_S = 1_000_000_000
Parameters = Mapping[str, str]
Body = TypeVar("Body", bound=msgspec.Struct)
Seconds = Annotated[int, msgspec.Meta(ge=0, le=31_536_000)]


class ForceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{"state": "open" | "closed" | "auto"}`."""

    state: Literal["open", "closed", "auto"]


class ClearBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to clear: everything, a path prefix, or a tag."""

    prefix: str | None = None
    tag: str | None = None


class KeyBody(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """To whom a key is given."""

    tenant: TenantId
    tier: str | None = None
    scopes: tuple[str, ...] = ()
    label: str = ""
    expires_in_s: Seconds | None = None


class RotateBody(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """How long the old secret still works."""

    grace_s: Seconds = 86_400


async def reset_breaker(
    parts: Parts, exchange: Exchange, parameters: Parameters
) -> Answer | Problem:
    """Close a service's breakers."""
    service = parameters["service"]
    if (refused := _refused(parts, exchange, service=service)) is not None:
        return refused
    parts.breakers.reset(service)
    _record(parts, exchange, "breaker.reset", service=service)
    return json_answer({"reset": True, "service": service})


async def force_breaker(
    parts: Parts, exchange: Exchange, parameters: Parameters
) -> Answer | Problem:
    """Hold a service's breaker open or closed, or let it decide again."""
    service = parameters["service"]
    if (refused := _refused(parts, exchange, service=service)) is not None:
        return refused
    body = await _body(parts, exchange, ForceBody)
    if isinstance(body, Problem):
        return body
    parts.breakers.force(service, body.state)
    _record(parts, exchange, "breaker.force", service=service, state=body.state)
    return json_answer({"state": body.state, "service": service})


async def clear_cache(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Clear the tenant's cache: all of it, or by prefix or tag."""
    if exchange.identity.principal.kind == "anonymous":
        return problem("unauthenticated", "Clearing the cache needs a credential.")
    body = await _body(parts, exchange, ClearBody)
    if isinstance(body, Problem):
        return body
    tag = None if body.tag is None else plain_tag(body.tag)
    cleared = parts.cache.clear(tag=tag, prefix=body.prefix)
    _record(parts, exchange, "cache.clear", cleared=cleared)
    return json_answer({"cleared": cleared})


async def list_keys(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """List the keys made at run time; no secret is among what is shown."""
    if (refused := _refused(parts, exchange)) is not None:
        return refused
    return json_answer({"keys": [record.public() for record in parts.keys.list()]})


async def create(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Make a key and show it, once."""
    if (refused := _refused(parts, exchange)) is not None:
        return refused
    body = await _body(parts, exchange, KeyBody)
    if isinstance(body, Problem):
        return body
    if body.tier is not None and (unknown := _unknown_tier(parts, body.tier)) is not None:
        return unknown
    now_ns = parts.clock.realtime_ns()
    expires_ns = None if body.expires_in_s is None else now_ns + body.expires_in_s * NS_PER_S
    grant = KeyGrant(
        tenant=body.tenant,
        tier=body.tier,
        scopes=body.scopes,
        label=body.label,
        expires_ns=expires_ns,
    )
    made = create_key(
        grant,
        env=parts.config.auth.key_env,
        pepper=secret_of(parts.env, parts.config.auth.key_pepper_env),
        entropy=parts.entropy,
        now_ns=now_ns,
    )
    parts.keys.save(made.record)
    _record(parts, exchange, "key.create", key=made.record.id, tenant=body.tenant)
    return json_answer({"key": made.text, **made.record.public()}, status=201)


async def rotate(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Give a key a new secret; the old one works for a while."""
    record = _key(parts, exchange, parameters["id"])
    if isinstance(record, Problem):
        return record
    body = await _body(parts, exchange, RotateBody)
    if isinstance(body, Problem):
        return body
    made = rotate_key(
        record,
        env=parts.config.auth.key_env,
        pepper=secret_of(parts.env, parts.config.auth.key_pepper_env),
        entropy=parts.entropy,
        grace_until_ns=parts.clock.realtime_ns() + body.grace_s * NS_PER_S,
    )
    if isinstance(made, str):
        return problem("conflict", made)
    parts.keys.save(made.record)
    _record(parts, exchange, "key.rotate", key=record.id)
    return json_answer({"key": made.text, **made.record.public()})


async def revoke(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """End a key; other objects hear of it within the verdict's lifetime."""
    record = _key(parts, exchange, parameters["id"])
    if isinstance(record, Problem):
        return record
    revoked = revoke_key(record)
    if isinstance(revoked, str):
        return problem("conflict", revoked)
    parts.keys.save(revoked)
    _record(parts, exchange, "key.revoke", key=record.id)
    return json_answer({"revoked": True, "id": record.id})


async def put_tenant(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Set a tenant's tier and limits; a tenant in the configuration is read-only and wins."""
    if (refused := _refused(parts, exchange)) is not None:
        return refused
    tenant = parameters["id"]
    if not is_tenant_id(tenant):
        return problem("bad-request", f"{tenant!r} is no tenant id: {TENANT_ID_RULE}.")
    if tenant in parts.config.tenants:
        return problem(
            "conflict", f"The tenant {tenant!r} is in the configuration; change it there."
        )
    body = await _body(parts, exchange, TenantConfig)
    if isinstance(body, Problem):
        return body
    if (unknown := _unknown_tier(parts, body.tier)) is not None:
        return unknown
    parts.tenants.save(tenant, body)
    _record(parts, exchange, "tenant.put", tenant=tenant, tier=body.tier)
    return json_answer({"tenant": tenant, **msgspec.to_builtins(body)})


async def _body(parts: Parts, exchange: Exchange, kind: type[Body]) -> Body | Problem:
    """Return the JSON body as `kind`; an absent body is an empty object."""
    given: object = {}
    if exchange.request.body is not None:
        given = await read_json(exchange.request, parts.config.limits)
    if isinstance(given, Problem):
        return given
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        return problem("bad-request", f"The body is not as it should be: {error}.")


def _refused(parts: Parts, exchange: Exchange, *, service: str | None = None) -> Problem | None:
    """Return why the caller may not administer, or that there is no such service."""
    if secret_of(parts.env, parts.config.admin.token_env) is None:
        return problem("admin-disabled", f"Set {parts.config.admin.token_env} to administer.")
    principal = exchange.identity.principal
    if principal.kind == "anonymous":
        return problem("unauthenticated", headers=(("WWW-Authenticate", "Bearer"),))
    if principal.kind != "admin" and parts.config.admin.scope not in principal.scopes:
        return problem("insufficient-scope", scope=parts.config.admin.scope)
    if service is not None and service not in parts.config.services:
        return problem("unknown-service", f"There is no service {service!r}.")
    return None


def _unknown_tier(parts: Parts, tier: str) -> Problem | None:
    if tier in parts.config.rate_limits:
        return None
    known = ", ".join(parts.config.rate_limits)
    return problem("bad-request", f"There is no tier {tier!r}; there are: {known}.")


def _key(parts: Parts, exchange: Exchange, key_id: str) -> KeyRecord | Problem:
    if (refused := _refused(parts, exchange)) is not None:
        return refused
    if any(each.id == key_id for each in parts.config.auth.api_keys):
        return problem("conflict", "The key is in the configuration; change it there.")
    return parts.keys.find(key_id) or problem("not-found", f"There is no key {key_id!r}.")


def _record(parts: Parts, exchange: Exchange, event: str, **fields: str | int) -> None:
    by = exchange.identity.principal.subject or exchange.identity.principal.kind
    request_id = exchange.identity.request_id
    parts.log.event(f"admin.{event}", level="info", by=by, request_id=request_id, **fields)
