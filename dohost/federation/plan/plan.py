"""The plan: a value that says which subgraph is asked what, in which order, and where answers go."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from graphql import ValueNode


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step into the response: into a response key (lists are walked through), or a type guard."""

    key: str = ""
    on: str = ""


class InputField(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a representation: its name, and the response key where its value lies."""

    name: str
    response_key: str
    inputs: tuple[InputField, ...] = ()
    on: str = ""


class RootUse(msgspec.Struct, frozen=True, kw_only=True):
    """A root field of a root fetch, with its arguments as value nodes."""

    response_key: str
    name: str
    arguments: Mapping[str, ValueNode]


class Rename(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias that only the subgraph sees goes back to its response key; `path` holds keys."""

    path: tuple[str, ...]
    alias: str
    response_key: str


class EntityTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The objects at one place for which a fetch asks an entity, and what it sends for each."""

    path: tuple[PathStep, ...]
    type: str
    inputs: tuple[InputField, ...]
    required: frozenset[str] = frozenset()


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """One request to one subgraph; no targets means root fields, whose answer goes to all objects at `at`."""

    service: str
    kind: str
    text: str
    variables: tuple[str, ...] = ()
    targets: tuple[EntityTarget, ...] = ()
    root_fields: tuple[RootUse, ...] = ()
    at: tuple[PathStep, ...] = ()
    renames: tuple[Rename, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Waves of fetches, one after the other; the fetches of a wave run in parallel."""

    waves: tuple[tuple[Fetch, ...], ...]

    @property
    def fetch_count(self) -> int:
        """Return the number of requests if every list has entities."""
        return sum(len(wave) for wave in self.waves)

    def __str__(self) -> str:
        return "QueryPlan {\n" + "".join(_wave(wave) for wave in self.waves) + "}"


def _wave(wave: tuple[Fetch, ...]) -> str:
    if len(wave) == 1:
        return _fetch(wave[0], "  ")
    return "  Parallel {\n" + "".join(_fetch(fetch, "    ") for fetch in wave) + "  }\n"


def _fetch(fetch: Fetch, indent: str) -> str:
    at = ", ".join(f"{_path(t.path)}: {t.type} {{ {_inputs(t.inputs)} }}" for t in fetch.targets)
    at = at or _path(fetch.at)
    where = f" at [{at}]" if at else ""
    return f"{indent}Fetch {fetch.service}{where}\n{indent}  {fetch.text}\n"


def _path(path: tuple[PathStep, ...]) -> str:
    return ".".join(step.key or f"|{step.on}|" for step in path)


def _inputs(inputs: tuple[InputField, ...]) -> str:
    return " ".join(
        field.name + (f" {{ {_inputs(field.inputs)} }}" if field.inputs else "") for field in inputs
    )
