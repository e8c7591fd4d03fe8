"""A subgraph's schema as composition sees it: definitions and extensions joined, names canonical.

Types are written as GraphQL text (`[Order!]!`): they are compared and merged far more often than
looked into, and `named_type` is all the looking that most of them get. Directives carry their canonical
federation names whatever the document imported them as.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

ROOT_TYPES = ("Query", "Mutation", "Subscription")
BUILT_IN_SCALARS = frozenset({"Int", "Float", "String", "Boolean", "ID"})


class Kind(StrEnum):
    """The six kinds of type definition, by their keyword in SDL."""

    SCALAR = "scalar"
    OBJECT = "type"
    INTERFACE = "interface"
    UNION = "union"
    ENUM = "enum"
    INPUT = "input"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One application of a directive, with its arguments as plain values."""

    name: str
    arguments: Mapping[str, object] = {}

    def text(self, argument: str, default: str = "") -> str:
        """Return a string argument; anything else reads as `default`."""
        value = self.arguments.get(argument, default)
        return value if isinstance(value, str) else default


class InputDef(msgspec.Struct, frozen=True, kw_only=True):
    """An argument or an input field; `default` is GraphQL text."""

    name: str
    type: str
    default: str | None = None
    directives: tuple[Applied, ...] = ()
    description: str | None = None

    @property
    def is_required(self) -> bool:
        """Tell whether a caller has to give a value."""
        return self.type.endswith("!") and self.default is None


class FieldDef(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an object type or interface. `position` is `subgraph:line:column`."""

    name: str
    type: str
    arguments: Mapping[str, InputDef] = {}
    directives: tuple[Applied, ...] = ()
    description: str | None = None
    position: str = ""
    in_extension: bool = False

    def has(self, directive: str) -> bool:
        """Tell whether `directive` is applied here."""
        return any(applied.name == directive for applied in self.directives)

    def get(self, directive: str) -> Applied | None:
        """Return the first application of `directive`."""
        return next((a for a in self.directives if a.name == directive), None)


class EnumValueDef(msgspec.Struct, frozen=True, kw_only=True):
    """A value of an enum."""

    name: str
    directives: tuple[Applied, ...] = ()
    description: str | None = None


class TypeDef(msgspec.Struct, frozen=True, kw_only=True):
    """A type in one subgraph: all its definitions and extensions together.

    Only the members of its kind are filled: `fields` (object, interface), `inputs`, `values`, `members`.
    """

    name: str
    kind: Kind
    fields: Mapping[str, FieldDef] = {}
    inputs: Mapping[str, InputDef] = {}
    values: Mapping[str, EnumValueDef] = {}
    interfaces: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    directives: tuple[Applied, ...] = ()
    description: str | None = None
    position: str = ""
    is_extension: bool = False

    def has(self, directive: str) -> bool:
        """Tell whether `directive` is applied to the type."""
        return any(applied.name == directive for applied in self.directives)

    def all(self, directive: str) -> tuple[Applied, ...]:
        """Return every application of a repeatable `directive`."""
        return tuple(a for a in self.directives if a.name == directive)


class SubgraphSchema(msgspec.Struct, frozen=True, kw_only=True):
    """One subgraph, ready for validation and merging; `imports` maps a directive to its local name."""

    name: str
    url: str
    types: Mapping[str, TypeDef]
    is_federation_1: bool
    version: tuple[int, int]
    root_fields_apart: bool = False
    imports: Mapping[str, str] = {}


def named_type(type_text: str) -> str:
    """Return the name inside lists and non-nulls: `[Order!]!` gives `Order`."""
    return type_text.strip("[]!")
