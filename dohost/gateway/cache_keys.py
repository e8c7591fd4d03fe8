"""Cache keys: whose copy it is, and of what.

The partition is the security boundary: `public`, one tenant, or one principal of a tenant. Keys are
canonical JSON, never joined text, so no two different requests share one; 1, 1.0, true and "1" stay
apart. A key has no line break, which is what separates it from a variant's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from dohost.gateway.config_tables import PartitionScope

ANONYMOUS_TENANT = "anonymous"
NO_VARIATION = "[]"
ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")

# Made once: `json.dumps` with options builds an encoder for each call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def partition(scope: PartitionScope | None, *, tenant: str, subject: str | None) -> str:
    """Return the partition; no scope means `principal`, or `public` for anonymous callers.

    A principal's partition of a caller without a subject is the tenant's anonymous one, which is
    never a named subject's.
    """
    # A tenant that a header, a host or a certificate named has no subject and is not the public.
    if scope == "public" or (scope is None and subject is None and tenant == ANONYMOUS_TENANT):
        return "public"
    if scope == "tenant":
        return json.dumps(["tenant", tenant])
    return json.dumps(["principal", tenant, subject])


def canonical_json(value: object) -> bytes:
    """Return JSON text that is equal iff the values are.

    Raises: TypeError for what JSON can't hold, keys that aren't strings included.
    """
    require_text_keys(value)
    return _encode(value).encode()


def require_text_keys(value: object) -> None:
    """Refuse objects whose keys JSON would turn into equal text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a cache key can't hold the object key {key!r}.")
            require_text_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            require_text_keys(item)


def rpc_key(partition: str, target: tuple[str, str, str], args: object) -> str:
    """Return the key of a call; `target` is (service, object, method)."""
    return canonical_json(["rpc", partition, *target, args]).decode()


def http_key(partition: str, url: str, *, version: str | None, sort_query: bool = False) -> str:
    """Return the primary key of a GET; variants by Vary are under it."""
    parts = urlsplit(url)
    path, query = upper_escapes(parts.path), upper_escapes(parts.query)
    if sort_query:
        query = "&".join(sorted(query.split("&")))
    address = [parts.scheme.lower(), parts.netloc.lower(), path, query]
    return canonical_json(["http", partition, *address, version]).decode()


def upper_escapes(text: str) -> str:
    """Return the text with upper-case percent escapes, the one normalisation that changes nothing."""
    return ESCAPE.sub(lambda found: found.group().upper(), text) if "%" in text else text


def vary_key(vary: tuple[str, ...], headers: Mapping[str, str]) -> str | None:
    """Return the key of a variant, `None` for `Vary: *`; header names are in lower case."""
    if not vary:
        return NO_VARIATION
    names = sorted({name.lower() for name in vary})
    if "*" in names:
        return None
    values = [[name, normalised(headers.get(name))] for name in names]
    return canonical_json(values).decode()


def normalised(value: str | None) -> str | None:
    """Return a field's value without the spaces that have no meaning; absent isn't empty."""
    return None if value is None else ", ".join([part.strip() for part in value.split(",")])
