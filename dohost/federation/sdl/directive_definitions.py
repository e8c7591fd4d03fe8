"""What a document may say when it defines federation's directives itself.

A definition may be left out. One that is given may name fewer locations and leave optional arguments out, as
documents of older versions do, but may not change what the directive means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from graphql import DirectiveDefinitionNode, print_ast

_FIELD_SETS = ("FieldSet", "_FieldSet", "federation__FieldSet", "String")
_MEMBERS = "FIELD_DEFINITION OBJECT INTERFACE UNION ARGUMENT_DEFINITION SCALAR ENUM ENUM_VALUE INPUT_OBJECT INPUT_FIELD_DEFINITION"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """A directive: the types that each argument may be written with, and where it may stand."""

    locations: str
    required: Mapping[str, tuple[str, ...]] = {}
    optional: Mapping[str, tuple[str, ...]] = {}
    is_repeatable: bool = False


_SETS = {"fields": tuple(f"{name}{end}" for name in _FIELD_SETS for end in ("!", ""))}
SIGNATURES: Mapping[str, Signature] = {
    "key": Signature(
        locations="OBJECT INTERFACE",
        required=_SETS,
        optional={"resolvable": ("Boolean", "Boolean!")},
        is_repeatable=True,
    ),
    "requires": Signature(locations="FIELD_DEFINITION", required=_SETS),
    "provides": Signature(locations="FIELD_DEFINITION", required=_SETS),
    "external": Signature(locations="OBJECT FIELD_DEFINITION", optional={"reason": ("String",)}),
    "extends": Signature(locations="OBJECT INTERFACE"),
    "shareable": Signature(locations="OBJECT FIELD_DEFINITION", is_repeatable=True),
    "inaccessible": Signature(locations=_MEMBERS),
    "tag": Signature(
        locations=f"{_MEMBERS} SCHEMA", required={"name": ("String!",)}, is_repeatable=True
    ),
    "override": Signature(
        locations="FIELD_DEFINITION",
        required={"from": ("String!",)},
        optional={"label": ("String",)},
    ),
    "composeDirective": Signature(
        locations="SCHEMA", required={"name": ("String!", "String")}, is_repeatable=True
    ),
    "interfaceObject": Signature(locations="OBJECT"),
}


def definition_problems(name: str, node: DirectiveDefinitionNode) -> Iterator[str]:
    """Yield what is wrong in a document's own definition of the federation directive `name`."""
    signature = SIGNATURES.get(name)
    if signature is None:
        return
    given = {a.name.value: print_ast(a.type) for a in node.arguments or ()}
    known = {**signature.required, **signature.optional}
    for argument in signature.required.keys() - given.keys():
        yield f"it lacks the argument {argument}"
    for argument, type_text in given.items():
        if argument not in known:
            yield f"it has an unknown argument {argument}"
        elif type_text not in known[argument]:
            yield f"its argument {argument} is {type_text}, not {known[argument][0]}"
    wrong = [at.value for at in node.locations if at.value not in signature.locations.split()]
    if wrong:
        yield f"it can't stand on {', '.join(wrong)}"
    if node.repeatable and not signature.is_repeatable:
        yield "it is not repeatable"
