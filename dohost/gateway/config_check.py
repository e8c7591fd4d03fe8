"""What types can't say about a configuration: references that must exist, settings that exclude one
another, and patterns, dates and networks that must parse.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from dohost.gateway.config_read import Findings, join
from dohost.gateway.config_tables import (
    SERVICE_NAME,
    IssuerConfig,
    ServiceConfig,
    TenantConfig,
)
from dohost.gateway.jwk import FITS, fits, parse_jwks
from dohost.gateway.routes import RouteTable
from dohost.gateway.tenant_id import is_tenant_id
from dohost.gateway.versions import check_versions

if TYPE_CHECKING:
    from dohost.gateway.config import GatewayConfig

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def check(config: GatewayConfig, bindings: frozenset[str] | None, *, findings: Findings) -> None:
    """Record everything wrong in a configuration whose types are right."""
    for service in config.services.values():
        check_service(service, bindings, findings=findings)
    check_references(config, findings)
    for index, issuer in enumerate(config.auth.issuers):
        check_issuer(issuer, f"GATEWAY.auth.issuers[{index}]", findings=findings)
    check_uniqueness(config, findings)
    check_tenants(config, findings)
    check_cors(config, findings)
    check_hosts(config, findings)
    check_fields(config, findings)
    if config.builtin_prefix and not re.fullmatch(r"(/[\w.~-]+)+", config.builtin_prefix):
        findings.add("GATEWAY.builtin_prefix", 'must look like "/_gateway".')
    compiled = RouteTable.compile(config.routes, strict_wildcard=config.strict_wildcard)
    if isinstance(compiled, tuple):
        findings.problems.extend(compiled)
    findings.problems.extend(check_versions(config.versions))


def check_service(
    service: ServiceConfig, bindings: frozenset[str] | None, *, findings: Findings
) -> None:
    """Record what is wrong with a service's name and target."""
    path = join("GATEWAY.services", service.name)
    if not re.fullmatch(SERVICE_NAME, service.name):
        findings.add(path, "a service's name is a letter, then letters, digits and _ (at most 64).")
    if (service.binding is None) == (service.url is None):
        findings.add(path, "needs either binding or url, and not both.")
    if service.binding is not None and bindings is not None and service.binding not in bindings:
        text = f"no Durable Object binding {service.binding!r}."
        findings.add(f"{path}.binding", text, word=service.binding, known=bindings)
    if not service.object:
        findings.add(f"{path}.object", "must not be empty.")
    if service.url is not None and not is_origin(service.url):
        findings.add(f"{path}.url", "must be an http or https URL without user, query or fragment.")


def is_origin(url: str) -> bool:
    """True for a URL that names a server and at most a base path."""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc or "\\" in url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and port_ok


def check_references(config: GatewayConfig, findings: Findings) -> None:
    """Record names of services, tiers and versions that don't exist."""
    for route in config.routes:
        path = join("GATEWAY.routes", route.pattern)
        known = config.versions.supported
        if route.version is not None and route.version not in known:
            text = f"no version {route.version!r}."
            findings.add(f"{path}.version", text, word=route.version, known=known)
        if route.mirror is not None and route.mirror not in config.mirror:
            text = f"no mirror {route.mirror!r}."
            findings.add(f"{path}.mirror", text, word=route.mirror, known=config.mirror)
    for name, mirror in config.mirror.items():
        if mirror.service not in config.services:
            where = join("GATEWAY.mirror", name) + ".service"
            text = f"no service {mirror.service!r}."
            findings.add(where, text, word=mirror.service, known=config.services)
    tiers = [("GATEWAY.tenancy.anonymous_tier", config.tenancy.anonymous_tier)]
    tiers += [(join("GATEWAY.tenants", n) + ".tier", t.tier) for n, t in config.tenants.items()]
    for index, key in enumerate(config.auth.api_keys):
        if key.tier is not None:
            tiers.append((f"GATEWAY.auth.api_keys[{index}].tier", key.tier))
    for path, tier in tiers:
        if tier not in config.rate_limits:
            findings.add(path, f"no tier {tier!r}.", word=tier, known=config.rate_limits)


def check_issuer(issuer: IssuerConfig, path: str, *, findings: Findings) -> None:
    """Record an issuer whose algorithms and keys don't fit together."""
    hmac = [name for name in issuer.algorithms if name.startswith("HS")]
    if not issuer.algorithms:
        findings.add(f"{path}.algorithms", "must name at least one algorithm.")
    if not issuer.audience:
        findings.add(f"{path}.audience", "must name at least one audience.")
    if hmac and len(hmac) != len(issuer.algorithms):
        findings.add(f"{path}.algorithms", "HMAC and public-key algorithms exclude one another.")
    sources = [issuer.jwks_url, issuer.jwks, issuer.public_key, issuer.secret_env]
    if sum(source is not None for source in sources) != 1:
        findings.add(path, "needs exactly one of jwks_url, jwks, public_key and secret_env.")
    elif bool(hmac) != (issuer.secret_env is not None):
        findings.add(path, "secret_env goes with HMAC algorithms, and only with them.")
    if issuer.jwks_url is not None and not is_https(issuer.jwks_url):
        findings.add(f"{path}.jwks_url", "must be an https URL.")
    if issuer.public_key is not None and not is_fitting_pem(issuer.public_key, issuer.algorithms):
        text = "is no PEM of a strong public key that fits an algorithm."
        findings.add(f"{path}.public_key", text)
    if issuer.jwks is not None:
        keys = parse_jwks(msgspec.json.encode(issuer.jwks))
        if isinstance(keys, str):
            findings.add(f"{path}.jwks", f"can't be used: {keys}.")
        elif not any(fits(key, name) for key in keys for name in issuer.algorithms):
            text = "has no public key that is strong, meant for verifying and fit for an algorithm."
            findings.add(f"{path}.jwks", text)


def is_fitting_pem(pem: str, algorithms: Sequence[str]) -> bool:
    """True for a public key that one of the algorithms can use; HMAC has none."""
    # As in `auth.py`, only gateways that have such a key pay for the libraries behind this.
    from dohost.gateway.signatures import Signatures

    signatures = Signatures()
    return any(signatures.pem_key(pem, alg=alg) for alg in algorithms if alg in FITS)


def is_https(url: str) -> bool:
    """True for an https URL that names a server."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def check_uniqueness(config: GatewayConfig, findings: Findings) -> None:
    """Record issuers and keys that are configured twice."""
    issuers = [issuer.issuer for issuer in config.auth.issuers]
    keys = [key.id for key in config.auth.api_keys]
    for table, names in (("issuers", issuers), ("api_keys", keys)):
        for index, name in enumerate(names):
            if name in names[:index]:
                findings.add(f"GATEWAY.auth.{table}[{index}]", f"{name!r} is configured twice.")


def check_tenants(config: GatewayConfig, findings: Findings) -> None:
    """Record tenant ids and networks that don't parse."""
    tenants: dict[str, TenantConfig] = dict(config.tenants)
    for name in tenants:
        if not is_tenant_id(name):
            findings.add(join("GATEWAY.tenants", name), "is not a tenant id.")
    for index, network in enumerate(config.tenancy.trusted_proxies):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            findings.add(f"GATEWAY.tenancy.trusted_proxies[{index}]", f"{error}.")
    if config.tenancy.trust_tenant_headers and not config.tenancy.trusted_proxies:
        findings.add("GATEWAY.tenancy.trust_tenant_headers", "needs trusted_proxies.")


def check_fields(config: GatewayConfig, findings: Findings) -> None:
    """Record names that can't stand in a header: an answer with one of them would be a 500."""
    cors = config.cors
    tables = {"methods": cors.methods, "headers": cors.headers, "expose": cors.expose}
    lists = {f"GATEWAY.cors.{name}": names for name, names in tables.items()}
    lists["GATEWAY.versions.headers"] = config.versions.headers
    for path, names in lists.items():
        for index, name in enumerate(names):
            if not re.fullmatch(TOKEN, name):
                findings.add(f"{path}[{index}]", f"{name!r} is no token of HTTP.")


def check_hosts(config: GatewayConfig, findings: Findings) -> None:
    """Record hosts that no request names, because they are written otherwise."""
    hosts = [(join("GATEWAY.tenancy.hosts", host), host) for host in config.tenancy.hosts]
    for route in config.routes:
        path = f"{join('GATEWAY.routes', route.pattern)}.hosts"
        hosts += [(f"{path}[{index}]", host) for index, host in enumerate(route.hosts)]
    for path, host in hosts:
        if not re.fullmatch(r"[a-z0-9._~-]+|\[[0-9a-f:.]+\]", host):
            text = "must look like 'api.example' or '[::1]': lower case, punycode, without a port."
            findings.add(path, text)


def check_cors(config: GatewayConfig, findings: Findings) -> None:
    """Record origins that the Fetch standard or common sense refuses."""
    for index, origin in enumerate(config.cors.origins):
        path = f"GATEWAY.cors.origins[{index}]"
        if origin == "*" and config.cors.credentials:
            findings.add(path, '"*" and credentials exclude one another; list the origins.')
        elif origin not in ("*", "null") and not re.fullmatch(
            r"[a-z][a-z0-9+.-]*://[^/\s]+", origin
        ):
            findings.add(path, 'must look like "https://app.example.com", without a path.')
