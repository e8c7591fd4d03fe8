"""`_headers`: fields that are set on, or taken from, the answers of static assets. Pure.

The first rule that sets a field replaces it; later ones add to it.
"""

from __future__ import annotations

import re

import msgspec
from workers.headers import Headers

from dohost.simulators.assets_rules import (
    Complaint,
    Invalid,
    Pattern,
    filled,
    lines_of,
    read_target,
)

RULES_MAX = 100
_is_path = re.compile(r"[^\s]+://|/").match


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to the answers whose paths match."""

    pattern: Pattern
    sets: dict[str, str]
    unsets: tuple[str, ...]


class _Block:
    """The lines under one path."""

    def __init__(self, path: str, line: int) -> None:
        self.path = path
        self.line = line
        self.sets: dict[str, str] = {}
        self.unsets: list[str] = []


def parse_headers(text: str) -> tuple[list[HeaderRule], list[Complaint]]:
    """Return the rules of a file, and the lines that are left out."""
    complaints: list[Complaint] = []
    blocks: list[_Block] = []
    block: _Block | None = None
    for number, line in lines_of(text, complaints):
        try:
            if _is_path(line):
                block = None
                if len(blocks) >= RULES_MAX:
                    raise Invalid(f"there are more than {RULES_MAX} rules")
                block = _Block(read_target(line), number)
                blocks.append(block)
            else:
                _add(block, line)
        except Invalid as invalid:
            complaints.append(Complaint(line=number, why=str(invalid)))
    return _rules(blocks, complaints), complaints


def apply_headers(rules: list[HeaderRule], headers: Headers, *, host_name: str, path: str) -> None:
    """Change the fields of an answer as the rules for its path say."""
    seen: set[str] = set()
    for rule in rules:
        values = rule.pattern.match(host_name, path)
        if values is None:
            continue
        for name in rule.unsets:
            headers.delete(name)
        for name, value in rule.sets.items():
            if name in seen:
                headers.append(name, filled(value, values))
            else:
                headers.set(name, filled(value, values))
                seen.add(name)


def _add(block: _Block | None, line: str) -> None:
    name, colon, value = line.partition(":")
    if not colon:
        if block is None:
            raise Invalid("a path comes first")
        if not line.startswith("! "):
            raise Invalid("write `name: value`, or `! name`")
        block.unsets.append(line[2:].strip())
        return
    name, value = name.strip().lower(), value.strip()
    if not name or not value or " " in name:
        raise Invalid("write `name: value`")
    if block is None:
        raise Invalid(f"a path comes before fields ({name})")
    try:
        Headers({name: value})
    except TypeError as error:
        raise Invalid(str(error)) from error
    before = block.sets.get(name)
    block.sets[name] = f"{before}, {value}" if before else value


def _rules(blocks: list[_Block], complaints: list[Complaint]) -> list[HeaderRule]:
    rules: dict[str, HeaderRule] = {}
    for block in blocks:
        if not block.sets and not block.unsets:
            complaints.append(Complaint(line=block.line, why="no headers are named"))
            continue
        try:
            pattern = Pattern(block.path)
        except re.error:
            complaints.append(Complaint(line=block.line, why="a placeholder is named twice"))
            continue
        # Of two rules for one path the last holds, at the place of the first.
        rules[block.path] = HeaderRule(pattern=pattern, sets=block.sets, unsets=tuple(block.unsets))
    return list(rules.values())
