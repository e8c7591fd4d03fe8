"""Key sets over HTTP, for an entry point that has no storage to keep them in."""

from __future__ import annotations

from workers import fetch

from dohost.gateway.cache_control import parse_cache_control
from dohost.gateway.jwks import JwksDocument

JWKS_BYTES_MAX = 262_144


async def fetch_jwks(url: str) -> JwksDocument:
    """Fetch a key set. Raises: OSError for an answer that is no key set."""
    response = await fetch(url, redirect="manual")
    if response.status != 200:
        raise OSError(f"{url} answered {response.status}")
    body = bytearray()
    if response.body is not None:
        async for chunk in response.body:
            body += chunk
            if len(body) > JWKS_BYTES_MAX:
                raise OSError(f"{url} answered more than {JWKS_BYTES_MAX} bytes")
    control = parse_cache_control([response.headers.get("cache-control") or ""])
    max_age_s = 0 if control.no_store or control.no_cache else control.max_age
    return JwksDocument(body=bytes(body), max_age_s=max_age_s)


class NoStore:
    """Keeps nothing: entry points have no storage."""

    def load(self, url: str) -> tuple[bytes, int] | None:
        return None

    def save(self, url: str, body: bytes, fetched_ns: int) -> None:
        pass
