"""The form of a tenant's id; names that start with "$" are the gateway's own objects."""

from __future__ import annotations

import re

TENANT_ID_RULE = "a letter or digit, then up to 127 letters, digits, dots, underscores and hyphens"
TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_tenant_id(text: str) -> bool:
    """True if `text` may name a tenant."""
    return TENANT_ID.fullmatch(text) is not None
