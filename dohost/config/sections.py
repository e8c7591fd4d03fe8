"""One environment's view of a configuration file: wrangler's inheritance.

Some keys of the top level hold in `[env.X]` unless repeated there; others (everything that names a
resource) hold only where they stand, so that staging never writes to production's data by
accident. `Section.get` answers with the value that holds and the path it stands at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from dohost.config import schema
from dohost.config.document import Document
from dohost.config.lines import KeyPath
from dohost.config.shape import Findings, check, dotted, shown, unexpected


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A value and where it stands."""

    path: KeyPath
    value: object


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that hold for `env` (None: the top level); `rejected` ones had a wrong shape."""

    env: str | None
    values: Mapping[str, Placed]
    rejected: frozenset[str] = frozenset()

    def get(self, key: str) -> Placed | None:
        """Return the value that holds for `key`, if there is one."""
        return self.values.get(key)

    def plain(self, key: str) -> object:
        """Return the bare value that holds for `key`, or None."""
        placed = self.values.get(key)
        return None if placed is None else placed.value


def select_section(document: Document, env: str | None, findings: Findings) -> Section:
    """Return the checked view of `env`, writing down whatever is wrong with it.

    Keys whose values have a wrong shape are left out, so that later steps may trust the rest.
    """
    top = document.data
    unexpected(top, schema.KNOWN, path=(), findings=findings)
    own = _environment(top, env, findings)
    if own is None:
        values = {key: Placed(path=(key,), value=value) for key, value in top.items()}
        return _checked(None, values, findings)
    assert env is not None, "only a named environment has a section of its own"
    prefix: KeyPath = ("env", env)
    unexpected(own, schema.KNOWN - schema.TOP_LEVEL_ONLY, path=prefix, findings=findings)
    _warn_not_inherited(top, own, prefix=prefix, findings=findings)
    values = {
        key: Placed(path=(key,), value=value)
        for key, value in top.items()
        if key in schema.INHERITED or key in schema.TOP_LEVEL_ONLY
    }
    if "route" in own or "routes" in own:
        values.pop("route", None)
        values.pop("routes", None)
    values |= {
        key: Placed(path=(*prefix, key), value=value)
        for key, value in own.items()
        if key not in schema.TOP_LEVEL_ONLY
    }
    return _checked(env, values, findings)


def _environment(
    top: Mapping[str, object], env: str | None, findings: Findings
) -> Mapping[str, object] | None:
    environments = top.get("env", {})
    if not isinstance(environments, dict):
        findings.problem(("env",), f'Expected "env" to be an object but got {shown(environments)}.')
        return None
    if env is None:
        return None
    if env not in environments:
        _no_such_environment(env, list(environments), findings)
        return None
    own = environments[env]
    if not isinstance(own, dict):
        findings.problem(
            ("env", env), f'Expected "{dotted(("env", env))}" to be an object but got {shown(own)}.'
        )
        return None
    return own


def _no_such_environment(env: str, names: list[str], findings: Findings) -> None:
    message = (
        f'No environment found in configuration with name "{env}".\n'
        f"  Before using `--env={env}` there should be an equivalent environment section in the "
        "configuration."
    )
    if names:
        listed = json.dumps(names, separators=(",", ":"), ensure_ascii=False)
        message += f"\n  The available configured environment names are: {listed}"
        findings.problem(("env",), message)
    else:
        findings.warn((), message)


def _warn_not_inherited(
    top: Mapping[str, object], own: Mapping[str, object], *, prefix: KeyPath, findings: Findings
) -> None:
    where = dotted(prefix)
    for key in top:
        if key in schema.NOT_INHERITED and key not in own:
            findings.warn(
                prefix,
                f'"{key}" exists at the top level, but not on "{where}".\n'
                f'  This is not what you probably want, since "{key}" is not inherited by '
                f'environments.\n  Please add "{key}" to "{where}".',
            )
    top_vars, own_vars = top.get("vars"), own.get("vars")
    if not isinstance(top_vars, dict) or not isinstance(own_vars, dict):
        return
    for name in top_vars:
        if name not in own_vars:
            findings.warn(
                (*prefix, "vars"),
                f'"vars.{name}" exists at the top level, but not on "{where}.vars".\n'
                '  This is not what you probably want, since "vars" configuration is not inherited '
                f'by environments.\n  Please add "vars.{name}" to "{where}".',
            )


def _checked(env: str | None, values: Mapping[str, Placed], findings: Findings) -> Section:
    sound: dict[str, Placed] = {}
    for key, placed in values.items():
        if key in schema.UNUSED and key != "$schema":
            findings.unused.append(placed.path)
        shape = schema.USED.get(key)
        if shape is None or key == "vars":  # vars have messages of their own
            sound[key] = placed
            continue
        before = len(findings.problems)
        check(placed.value, shape, path=placed.path, findings=findings)
        if len(findings.problems) == before:
            sound[key] = placed
    return Section(env=env, values=sound, rejected=frozenset(values.keys() - sound.keys()))
