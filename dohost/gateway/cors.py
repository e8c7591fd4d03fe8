"""Cross-origin access (Fetch standard): only listed origins, never `*` with credentials.

`Vary: Origin` is on every answer whose headers depend on the origin, also on those for requests that
have none, because a cache would otherwise give one origin's answer to another. `null` is the origin of
sandboxed documents and files, so it is allowed only where it is listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from dohost.gateway.config_tables import CorsConfig
from dohost.gateway.rate_limit_answers import EXPOSED

Header = tuple[str, str]
ALWAYS_EXPOSED = (*EXPOSED, "API-Version", "Deprecation", "Sunset", "Link", "X-Request-ID")


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """True for OPTIONS with Origin and Access-Control-Request-Method; header names in lower case."""
    return (
        method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
    )


def allowed_origin(config: CorsConfig, origin: str | None) -> str | None:
    """Return the value of Access-Control-Allow-Origin, or `None` for an origin without permission."""
    if origin is None:
        return None
    if origin in config.origins:
        return origin
    if "*" in config.origins and origin != "null" and not config.credentials:
        return "*"
    return None


def preflight_headers(config: CorsConfig, headers: Mapping[str, str]) -> tuple[Header, ...]:
    """Return the headers of the 204 that answers a preflight; none of permission if refused."""
    vary = (
        "Vary",
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    )
    origin = allowed_origin(config, headers.get("origin"))
    method = headers.get("access-control-request-method", "")
    asked = headers.get("access-control-request-headers", "")
    names = {name.strip().lower() for name in asked.split(",") if name.strip()}
    listed = {name.lower() for name in config.headers}
    if origin is None or method not in config.methods or not names <= listed:
        return (vary,)
    permission = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", ", ".join(config.methods)),
        ("Access-Control-Allow-Headers", ", ".join(config.headers)),
        ("Access-Control-Max-Age", str(config.max_age_s)),
        vary,
    ]
    if config.credentials:
        permission.append(("Access-Control-Allow-Credentials", "true"))
    private = headers.get("access-control-request-private-network")
    if config.private_network and private == "true":
        permission.append(("Access-Control-Allow-Private-Network", "true"))
    return tuple(permission)


def cors_headers(config: CorsConfig, origin: str | None) -> tuple[Header, ...]:
    """Return the headers every other answer carries, errors included; `Vary` among them."""
    if not config.origins:
        return ()
    vary = ("Vary", "Origin")
    allowed = allowed_origin(config, origin)
    if allowed is None:
        return (vary,)
    exposed = ", ".join((*ALWAYS_EXPOSED, *config.expose))
    headers = [
        ("Access-Control-Allow-Origin", allowed),
        ("Access-Control-Expose-Headers", exposed),
        vary,
    ]
    if config.credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return tuple(headers)
