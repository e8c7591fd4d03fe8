"""`@link`: which federation version a document speaks, and what it calls its directives.

A directive reaches the rest of composition under its canonical name only; this file is where `@fed__key`
and `{name: "@shareable", as: "@share"}` end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from graphql import ConstDirectiveNode, value_from_ast_untyped

FEDERATION_URL = "https://specs.apollo.dev/federation"
VERSIONS_MAX = (2, 14)
# The federation version that brought each directive.
INTRODUCED: Mapping[str, tuple[int, int]] = {
    "key": (1, 0),
    "external": (1, 0),
    "requires": (1, 0),
    "provides": (1, 0),
    "extends": (1, 0),
    "tag": (1, 0),
    "shareable": (2, 0),
    "inaccessible": (2, 0),
    "override": (2, 0),
    "composeDirective": (2, 1),
    "interfaceObject": (2, 3),
    "authenticated": (2, 5),
    "requiresScopes": (2, 5),
    "policy": (2, 6),
    "context": (2, 8),
    "fromContext": (2, 8),
    "cost": (2, 9),
    "listSize": (2, 9),
    "cacheTag": (2, 12),
}
# The types that may be imported, and the version that brought each.
_TYPES: Mapping[str, tuple[int, int]] = {
    "FieldSet": (2, 0),
    "Scope": (2, 5),
    "Policy": (2, 6),
    "ContextFieldValue": (2, 8),
}
# Specifications of their own with one directive each, named like them.
_SINGLE = re.compile(r"^https://specs\.apollo\.dev/(inaccessible|tag)/v")
_URL = re.compile(r"^https?://.+?/(?P<name>[A-Za-z_][\w-]*)/v(?P<major>\d+)\.(?P<minor>\d+)/?$")


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """What a document's links say: canonical name by local name, and the federation version."""

    version: tuple[int, int] | None
    directives: Mapping[str, str]
    prefix: str = "federation__"
    foreign: frozenset[str] = frozenset()

    def canonical(self, local: str) -> str | None:
        """Return the federation name of a local directive name, or None for a foreign one."""
        if local in self.directives:
            return self.directives[local]
        bare = local.removeprefix(self.prefix)
        return bare if bare != local and bare in INTRODUCED else None


class LinkError(msgspec.Struct, frozen=True):
    """A link that can't be followed: error code and message."""

    code: str
    message: str


def read_links(applications: Iterable[ConstDirectiveNode]) -> Links | LinkError:
    """Read every `@link` of a schema; a document without a federation link is Federation 1."""
    federation: dict[str, object] | None = None
    version: tuple[int, int] | None = None
    foreign: set[str] = set()
    imported: set[str] = set()
    single: dict[str, str] = {}
    for node in applications:
        if node.name.value not in ("link", "core"):
            continue
        arguments = {a.name.value: value_from_ast_untyped(a.value) for a in node.arguments or ()}
        url = str(arguments.get("url", arguments.get("feature", "")))
        matched = _URL.match(url)
        if matched is None:
            return LinkError(
                "INVALID_LINK_IDENTIFIER", f'"{url}" is not the URL of a specification'
            )
        if not url.startswith(FEDERATION_URL + "/"):
            imported |= {local.removeprefix("@") for _, local in _imports(arguments)}
            if _SINGLE.match(url):
                single |= _single_names(arguments, matched["name"])
            else:
                foreign.add(str(arguments.get("as", matched["name"])))
            continue
        if federation is not None:
            return LinkError("INVALID_LINK_DIRECTIVE_USAGE", "federation is linked twice")
        federation, version = arguments, (int(matched["major"]), int(matched["minor"]))
        if not (2, 0) <= version <= VERSIONS_MAX:
            return LinkError("UNKNOWN_FEDERATION_LINK_VERSION", f'"{url}" is not a known version')
    if federation is None or version is None:
        for feature in single.values():
            return LinkError("INVALID_LINK_DIRECTIVE_USAGE", f"import @{feature} from federation")
        names = {name: name for name, since in INTRODUCED.items() if since == (1, 0)}
        return Links(version=None, directives=names, foreign=frozenset(foreign | imported))
    directives = _federation_names(federation, version)
    if isinstance(directives, LinkError):
        return directives
    for local in directives.keys() & imported:
        return LinkError("INVALID_LINK_DIRECTIVE_USAGE", f"@{local} is imported from two features")
    return Links(
        version=version,
        directives={**single, **directives},
        prefix=str(federation.get("as", "federation")) + "__",
        foreign=frozenset(foreign | imported),
    )


def _federation_names(
    arguments: Mapping[str, object], version: tuple[int, int]
) -> dict[str, str] | LinkError:
    names: dict[str, str] = {}
    for original, local in _imports(arguments):
        is_directive = original.startswith("@")
        since = INTRODUCED.get(original[1:]) if is_directive else _TYPES.get(original)
        if since is None or since > version:
            return LinkError(
                "INVALID_LINK_DIRECTIVE_USAGE",
                f"federation v{version[0]}.{version[1]} has no {original}",
            )
        if not is_directive:
            continue
        if not local.startswith("@") or local[1:] in names:
            return LinkError("INVALID_LINK_DIRECTIVE_USAGE", f"{original} can't be named {local}")
        names[local[1:]] = original[1:]
    return names


def _single_names(arguments: Mapping[str, object], feature: str) -> Mapping[str, str]:
    names = {str(arguments.get("as", feature)): feature}
    for original, local in _imports(arguments):
        if original == f"@{feature}":
            names[local.removeprefix("@")] = feature
    return names


def _imports(arguments: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    listed = arguments.get("import")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            yield str(item.get("name")), str(item.get("as", item.get("name")))
        else:
            yield str(item), str(item)
