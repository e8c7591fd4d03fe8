"""Merging arguments and input fields: only what every subgraph accepts is left."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.federation.compose.report import Report
from dohost.federation.compose.type_merge import merge_input
from dohost.federation.sdl.model import InputDef, TypeDef
from dohost.federation.supergraph import SuperInput

Places = Mapping[str, Mapping[str, InputDef]]
"""Arguments of one field, or fields of one input type, by graph id."""


class Codes(msgspec.Struct, frozen=True, kw_only=True):
    """The error and hint codes of one kind of place."""

    mismatch: str
    compatible: str
    default: str
    required: str
    dropped: str


ARGUMENTS = Codes(
    mismatch="FIELD_ARGUMENT_TYPE_MISMATCH",
    compatible="INCONSISTENT_BUT_COMPATIBLE_ARGUMENT_TYPE",
    default="FIELD_ARGUMENT_DEFAULT_MISMATCH",
    required="REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH",
    dropped="INCONSISTENT_ARGUMENT_PRESENCE",
)
INPUT_FIELDS = Codes(
    mismatch="FIELD_TYPE_MISMATCH",
    compatible="INCONSISTENT_BUT_COMPATIBLE_FIELD_TYPE",
    default="INPUT_FIELD_DEFAULT_MISMATCH",
    required="REQUIRED_INPUT_FIELD_MISSING_IN_SOME_SUBGRAPH",
    dropped="INCONSISTENT_INPUT_OBJECT_FIELD",
)


def merge_input_fields(
    name: str, declared: Mapping[str, TypeDef], report: Report
) -> Mapping[str, SuperInput]:
    """Merge the fields of one input type."""
    places = {graph: type_.inputs for graph, type_ in declared.items()}
    merged = merge_inputs(name, places, report=report, codes=INPUT_FIELDS)
    if not merged:
        report.error("EMPTY_MERGED_INPUT_TYPE", f"{name} has no field that all subgraphs accept")
    return {n: SuperInput(definition=d, graphs=tuple(places)) for n, d in merged.items()}


def merge_inputs(
    owner: str, places: Places, *, report: Report, codes: Codes
) -> Mapping[str, InputDef]:
    """Merge the inputs of `owner` over the subgraphs that have it."""
    merged: dict[str, InputDef] = {}
    for name in dict.fromkeys(n for inputs in places.values() for n in inputs):
        definitions = [inputs[name] for inputs in places.values() if name in inputs]
        if len(definitions) == len(places):
            merged[name] = _merge_one(f"{owner}.{name}", definitions, report=report, codes=codes)
        elif any(definition.is_required for definition in definitions):
            report.error(codes.required, f"{owner}.{name} is required, but some subgraph lacks it")
        else:
            report.warn(codes.dropped, f"{owner}.{name} is dropped: some subgraph lacks it")
    return merged


def _merge_one(
    label: str, definitions: list[InputDef], *, report: Report, codes: Codes
) -> InputDef:
    first = definitions[0]
    type_text = first.type
    for other in definitions[1:]:
        both = merge_input(type_text, other.type)
        if both is None:
            report.error(codes.mismatch, f"{label} is {type_text} and {other.type}")
            return first
        type_text = both
    if any(definition.type != type_text for definition in definitions):
        report.info(codes.compatible, f"{label} is merged as {type_text}")
    defaults = {definition.default for definition in definitions}
    default = first.default if len(defaults) == 1 else None
    if len(defaults - {None}) > 1:
        report.error(codes.default, f"{label} has different defaults")
    elif len(defaults) > 1:
        report.warn("INCONSISTENT_DEFAULT_VALUE_PRESENCE", f"{label}: the default is dropped")
    applied = {a.name: a for d in definitions for a in d.directives}
    return msgspec.structs.replace(
        first, type=type_text, default=default, directives=tuple(applied.values())
    )
