"""Who is calling, as far as a credential proves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class Principal(Struct, frozen=True, kw_only=True):
    """A caller. `tenant` and `tier` are what the credential says; `tenants.py` decides what holds.

    From `until_ns` on the credential has to be looked at again.
    """

    kind: Literal["anonymous", "jwt", "api-key", "admin"]
    subject: str | None = None
    tenant: str | None = None
    tier: str | None = None
    scopes: frozenset[str] = frozenset()
    issuer: str | None = None
    key_id: str | None = None
    claims: Mapping[str, object] = {}
    until_ns: int | None = None

    def has_scopes(self, required: tuple[str, ...]) -> bool:
        """True if every required scope was granted."""
        return self.scopes.issuperset(required)


ANONYMOUS = Principal(kind="anonymous")
