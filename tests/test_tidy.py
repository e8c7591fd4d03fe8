"""Lengths, names and manners of every file, so that reviews can be about something else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.source_tree import PRODUCT, Source, listed, sources

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MOSTLY = 40
PARAMETERS_MAX = 5
DRAWERS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"})
LINES_PER_BROAD_EXCEPT = 1_000
SAYS_WHY_IT_IS_LONG = re.compile(r"\blong\b|\blines\b", re.IGNORECASE)
# Split, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
# The shim's `console.log` is Worker code's own print.
MAY_PRINT = ("dohost/cli/", "dohost/dev/", "dohost/sdk/shims/js.py")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: Source) -> Iterator[Function]:
    """Yield every function of a file."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Return how many lines a function takes, its decorators left out."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def says_why_it_is_long(source: Source) -> bool:
    """Return whether the first line of a file gives a reason for its length."""
    return SAYS_WHY_IT_IS_LONG.search(source.lines[0]) is not None


def broad_excepts(source: Source) -> Iterator[ast.ExceptHandler]:
    """Yield the handlers that catch everything and do not pass it on."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        names = {each.id for each in caught if isinstance(each, ast.Name)}
        if node.type is None or names & {"Exception", "BaseException"}:
            last = node.body[-1]
            if not (isinstance(last, ast.Raise) and last.exc is None):
                yield node


def reason_beside(source: Source, line: int) -> str:
    """Return the comment of a line without its `noqa`."""
    comment = source.lines[line - 1].partition("#")[2]
    return re.sub(r"noqa: ?[A-Z0-9, ]+", "", comment).strip(" #-")


def test_no_file_is_long_without_a_reason() -> None:
    long = {
        source.path: len(source.lines)
        for source in sources("dohost", "services", "tests")
        if len(source.lines) > FILE_LINES_MAX and not says_why_it_is_long(source)
    }
    assert not long, listed(long)


def test_no_function_is_long() -> None:
    long = {
        f"{source.path}:{function.lineno} {function.name}": length(function)
        for source in sources("dohost", "services", "tests")
        for function in functions(source)
        if length(function) > FUNCTION_LINES_MAX
    }
    assert not long, listed(long)


def test_nineteen_functions_in_twenty_are_short() -> None:
    lengths = [length(function) for source in sources(*PRODUCT) for function in functions(source)]
    short = sum(each <= FUNCTION_LINES_MOSTLY for each in lengths)
    assert short >= 0.95 * len(lengths)


def test_no_function_takes_more_than_five_parameters() -> None:
    crowded = []
    for source in sources(*PRODUCT):
        for function in functions(source):
            arguments = function.args
            names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
            names += [each.arg for each in arguments.kwonlyargs]
            # Constructors wire: what they take is the list of an object's parts.
            if len(set(names) - {"self", "cls"}) > PARAMETERS_MAX and function.name != "__init__":
                crowded.append(f"{source.path}:{function.lineno} {function.name}")
    assert not crowded, listed(crowded)


def test_no_file_is_a_drawer_for_unlike_things() -> None:
    drawers = [
        source.path
        for source in sources("dohost", "services", "tests")
        if source.path.removesuffix(".py").rpartition("/")[2].removeprefix("test_") in DRAWERS
    ]
    assert not drawers, listed(drawers)


def test_broad_excepts_are_rare() -> None:
    places = [
        f"{source.path}:{handler.lineno}"
        for source in sources(*PRODUCT)
        for handler in broad_excepts(source)
    ]
    lines = sum(len(source.lines) for source in sources(*PRODUCT))
    assert len(places) <= lines / LINES_PER_BROAD_EXCEPT, listed(places)


def test_each_broad_except_has_its_reason_beside_it() -> None:
    silent = [
        f"{source.path}:{handler.lineno}"
        for source in sources(*PRODUCT)
        for handler in broad_excepts(source)
        if len(reason_beside(source, handler.lineno)) < 8
    ]
    assert not silent, listed(silent)


def test_nothing_says_of_itself_that_it_is_unfinished() -> None:
    unfinished = [
        f"{source.path}:{number}"
        for source in sources("dohost", "services", "tests")
        for number, line in enumerate(source.lines, start=1)
        if UNFINISHED.search(line)
    ]
    stubs = [
        f"{source.path}:{node.lineno}"
        for source in sources(*PRODUCT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert not unfinished + stubs, listed(unfinished + stubs)


def test_libraries_do_not_print() -> None:
    printed = [
        f"{source.path}:{node.lineno}"
        for source in sources(*PRODUCT)
        if not source.path.startswith(MAY_PRINT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not any(keyword.arg == "file" for keyword in node.keywords)
    ]
    assert not printed, listed(printed)


def test_every_module_begins_with_its_theory() -> None:
    headless = [
        source.path
        for source in sources("dohost", "services", "tests")
        if source.text.strip() and not ast.get_docstring(source.tree)
    ]
    assert not headless, listed(headless)


def test_annotations_are_never_evaluated() -> None:
    eager = [
        source.path
        for source in sources("dohost", "services", "tests")
        if any(isinstance(node, Function | ast.ClassDef) for node in source.tree.body)
        and "from __future__ import annotations" not in source.lines
    ]
    assert not eager, listed(eager)


def test_each_ignored_type_error_is_named_and_has_its_reason() -> None:
    silent = []
    for source in sources(*PRODUCT):
        for number, line in enumerate(source.lines, start=1):
            _, marker, rest = line.partition("# type: ignore")
            reason = re.sub(r"^\[[a-z-]+(, ?[a-z-]+)*\]", "", rest)
            if marker and (reason == rest or len(reason.strip(" #-")) < 4):
                silent.append(f"{source.path}:{number}")
    assert not silent, listed(silent)


@pytest.mark.parametrize("word", ["print(", "breakpoint(", "import pdb"])
def test_services_are_fit_to_be_read_first(word: str) -> None:
    assert [source.path for source in sources("services") if word in source.text] == []
