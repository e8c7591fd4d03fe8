"""What `env` says, decoded once: configuration, compiled routes, secrets by name.

`env` is a bag of bindings and variables with attribute access, on Cloudflare and here. The decoded
configuration and the compiled routes are immutable and the same for every object, so they are memoised
by content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from dohost.errors import ConfigError
from dohost.gateway.config import RESERVED, ConfigProblem, GatewayConfig, decode
from dohost.gateway.routes import RouteTable
from dohost.gateway.versions import check_versions
from dohost.memo import Memo

VARIABLE = "GATEWAY"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration with its routes compiled."""

    config: GatewayConfig
    routes: RouteTable


_memo: Memo[Settings | tuple[ConfigProblem, ...]] = Memo(entries_max=64)


def gateway_variables(env: object) -> dict[str, object]:
    """Return the variables of `env` that configure the gateway, as they arrived."""
    names = [name for name in dir(env) if name == VARIABLE or name.startswith(VARIABLE + "_")]
    return {name: _plain(getattr(env, name)) for name in names}


def _plain(value: object) -> object:
    """Return a variable as plain Python; on Cloudflare, JSON variables arrive as proxies."""
    to_py = getattr(value, "to_py", None) if not isinstance(value, str) else None
    return to_py() if callable(to_py) else value


def object_bindings(env: object) -> frozenset[str] | None:
    """Return the names of the Durable Object namespaces in `env`; None where classes don't tell."""
    found = frozenset(name for name in dir(env) if hasattr(type(getattr(env, name)), "getByName"))
    return found or None


def settings_problems(env: object) -> list[str]:
    """Return everything that is wrong in the configuration, one line each; empty if it is usable."""
    found = _read(env)
    return [] if isinstance(found, Settings) else [str(problem) for problem in found]


def settings_of(env: object) -> Settings:
    """Return the settings in `env`.

    Raises: ConfigError with every problem found.
    """
    found = _read(env)
    if isinstance(found, Settings):
        return found
    raise ConfigError(tuple(str(problem) for problem in found))


def secret_of(env: object, name: str) -> str | None:
    """Return a secret or text variable by name; None where it is absent or empty."""
    value = getattr(env, name, None)
    return value if isinstance(value, str) and value else None


def _read(env: object) -> Settings | tuple[ConfigProblem, ...]:
    variables, bindings = gateway_variables(env), object_bindings(env)
    plain = {name: value for name, value in variables.items() if name not in RESERVED}
    key = (json.dumps(plain, sort_keys=True, default=str), bindings)
    return _memo.get_or_make(key, lambda: _decode(variables, bindings))


def _decode(
    variables: Mapping[str, object], bindings: frozenset[str] | None
) -> Settings | tuple[ConfigProblem, ...]:
    config = decode(variables, bindings=bindings)
    if not isinstance(config, GatewayConfig):
        return config
    problems = check_versions(config.versions)
    routes = RouteTable.compile(config.routes, strict_wildcard=config.strict_wildcard)
    if not isinstance(routes, RouteTable):
        return (*problems, *routes)
    return problems or Settings(config=config, routes=routes)


def secrets_named(env: object, names: frozenset[str]) -> dict[str, str]:
    """Return those of the named secrets that are set."""
    found = {name: secret_of(env, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
