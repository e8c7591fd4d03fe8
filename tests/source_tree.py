"""The project's own source, as the house tests read it: files, their text and their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
PRODUCT = ("dohost", "services")


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """One imported module and the line it is imported on; `names` are what a `from` import takes."""

    module: str
    names: tuple[str, ...]
    line: int
    level: int
    is_in_function: bool


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One file of Python."""

    path: str
    text: str

    @property
    def room(self) -> str:
        """Return the second part of the path without `.py`, or `services`."""
        parts = self.path.removesuffix(".py").split("/")
        return parts[1] if parts[0] == "dohost" else parts[0]

    @property
    def lines(self) -> list[str]:
        """Return the lines of text."""
        return self.text.splitlines()

    @property
    def tree(self) -> ast.Module:
        """Return the syntax tree."""
        return parsed(self.path, self.text)

    def imports(self) -> Iterator[Import]:
        """Yield every import, wherever it stands; what only a type checker reads is left out."""
        yield from imports_in(self.tree, is_in_function=False)


@cache
def parsed(path: str, text: str) -> ast.Module:
    """Return the syntax tree of a file, made once."""
    return ast.parse(text, filename=path)


@cache
def sources(*tops: str) -> tuple[Source, ...]:
    """Return every Python file below the given directories of the project, in order of path."""
    found = sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))
    return tuple(
        Source(path=path.relative_to(ROOT).as_posix(), text=path.read_text("utf-8"))
        for path in found
    )


def imports_in(node: ast.AST, *, is_in_function: bool) -> Iterator[Import]:
    """Yield the imports below `node`."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for otherwise in child.orelse:
                    yield from imports_in(otherwise, is_in_function=is_in_function)
            case ast.Import():
                for alias in child.names:
                    yield Import(
                        module=alias.name,
                        names=(),
                        line=child.lineno,
                        level=0,
                        is_in_function=is_in_function,
                    )
            case ast.ImportFrom():
                yield Import(
                    module=child.module or "",
                    names=tuple(alias.name for alias in child.names),
                    line=child.lineno,
                    level=child.level,
                    is_in_function=is_in_function,
                )
            case _:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from imports_in(child, is_in_function=is_in_function or is_function)


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes on a name, else an empty string."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            owner = dotted(value)
            return f"{owner}.{attribute}" if owner else ""
    return ""


def listed(found: Sequence[str] | Mapping[str, int]) -> str:
    """Return what was found, one to a line, for the message of a failed test."""
    if isinstance(found, Mapping):
        found = [f"{name}: {count}" for name, count in found.items()]
    return "\n".join(["", *found])
