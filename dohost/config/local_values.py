"""Bindings whose local values come from outside their tables: Hyperdrive and the Secrets Store.

A connection string may come from the environment, as with wrangler; the value of a secret comes from the
secrets files. Both are secret: they are in the configuration, and shown nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from dohost.config.model import HyperdriveBinding, SecretsStoreBinding
from dohost.config.sections import Section
from dohost.config.shape import Findings

CONNECTION_VARIABLE = "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_"
_OLD_VARIABLE = "WRANGLER_HYPERDRIVE_LOCAL_CONNECTION_STRING_"
_PORTS = {"postgres": 5432, "postgresql": 5432, "mysql": 3306}


def read_hyperdrive(
    section: Section, process_env: Mapping[str, str], findings: Findings
) -> tuple[HyperdriveBinding, ...]:
    """Return the Hyperdrive bindings; a malformed string is a problem, a missing one a warning."""
    placed = section.get("hyperdrive")
    if placed is None:
        return ()
    bindings: list[HyperdriveBinding] = []
    for index, item in enumerate(msgspec.convert(placed.value, list[dict[str, object]])):
        name, path = str(item["binding"]), (*placed.path, index)
        variable = f"{CONNECTION_VARIABLE}{name}"
        given = process_env.get(variable) or process_env.get(f"{_OLD_VARIABLE}{name}")
        own = item.get("localConnectionString")
        text = given or (None if own is None else str(own))
        if text is None:
            findings.warn(
                path,
                f'"{name}" has no local database: set the variable {variable}, or '
                f'"localConnectionString" of the binding.',
            )
        elif why := _wrong(text):
            findings.problem(path, f'The connection string of "{name}" {why}.')
        port = None if text is None else _PORTS.get(_scheme(text))
        bindings.append(
            HyperdriveBinding(binding=name, id=str(item["id"]), connection_string=text, port=port)
        )
    return tuple(bindings)


def read_secrets_store(
    section: Section, values: Mapping[str, str]
) -> tuple[SecretsStoreBinding, ...]:
    """Return the bindings of secrets, with their values of the secrets files."""
    items = msgspec.convert(section.plain("secrets_store_secrets") or (), list[dict[str, object]])
    named = [(str(item["binding"]), str(item["secret_name"])) for item in items]
    return tuple(
        SecretsStoreBinding(
            binding=binding,
            secret_name=secret_name,
            value=values.get(binding, values.get(secret_name)),
        )
        for binding, secret_name in named
    )


def _scheme(text: str) -> str:
    return text.partition(":")[0].lower()


def _wrong(text: str) -> str | None:
    """Return what is missing in a connection string; says nothing of its content."""
    if _scheme(text) not in _PORTS:
        return "must begin with postgres://, postgresql:// or mysql://"
    try:
        split = urlsplit(text)
        parts = (split.hostname, split.path.strip("/"), split.username, split.password)
        _ = split.port
    except ValueError:
        return "is no URL"
    for part, name in zip(parts, ("host", "database", "user", "password"), strict=True):
        if not part:
            return f"names no {name}"
    return None
