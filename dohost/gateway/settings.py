"""What `env` says, decoded once: configuration, compiled routes, secrets by name.

`env` is a bag of bindings and variables with attribute access, on Cloudflare and here. The decoded
configuration and the compiled routes are immutable and the same for every object, so they are memoised
by content.
"""

from __future__ import annotations

import msgspec

from dohost.errors import ConfigError
from dohost.gateway.config import ConfigProblem, GatewayConfig, decode
from dohost.gateway.routes import RouteTable
from dohost.gateway.versions import check_versions
from dohost.memo import Memo

VARIABLE = "GATEWAY"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration with its routes compiled."""

    config: GatewayConfig
    routes: RouteTable


_memo: Memo[Settings] = Memo(entries_max=64)


def gateway_variables(env: object) -> dict[str, object]:
    """Return the variables of `env` that configure the gateway, as they arrived."""
    names = [name for name in dir(env) if name == VARIABLE or name.startswith(VARIABLE + "_")]
    return {name: getattr(env, name) for name in names}


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
    config = decode(gateway_variables(env), bindings=object_bindings(env))
    if not isinstance(config, GatewayConfig):
        return config
    problems = check_versions(config.versions)
    routes = RouteTable.compile(config.routes, strict_wildcard=config.strict_wildcard)
    if not isinstance(routes, RouteTable):
        return (*problems, *routes)
    if problems:
        return problems
    return _memo.get_or_make(config.hash, lambda: Settings(config=config, routes=routes))


def secrets_named(env: object, names: frozenset[str]) -> dict[str, str]:
    """Return those of the named secrets that are set."""
    found = {name: secret_of(env, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
