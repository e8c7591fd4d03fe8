"""What runs here and not on Cloudflare: a look at the imports of Worker source. Pure.

CPython allows Worker code to start threads and open sockets; Pyodide on Cloudflare does not. Nothing
is executed: the source is parsed, and a file that doesn't parse is left to the loader's message.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from dohost.config.document import shown_path

_THREADS = "threads don't exist on Cloudflare; use asyncio"
_SOCKETS = "sockets don't exist on Cloudflare; use workers.fetch or a binding"
_PROCESSES = "processes don't exist on Cloudflare"
_FILES = "databases on disk don't exist on Cloudflare; use ctx.storage"
REFUSED = {
    "threading": _THREADS,
    "_thread": _THREADS,
    "concurrent": _THREADS,
    "multiprocessing": _PROCESSES,
    "subprocess": _PROCESSES,
    "pty": _PROCESSES,
    "socket": _SOCKETS,
    "socketserver": _SOCKETS,
    "ssl": _SOCKETS,
    "aiohttp": _SOCKETS,
    "requests": _SOCKETS,
    "urllib3": _SOCKETS,
    "aiosqlite": _FILES,
    "sqlite3": _FILES,
    "apsw": _FILES,
    "uvloop": "Cloudflare has an event loop of its own",
}
# Rooms of dohost that Worker code may import: the same ones run on Cloudflare.
_PORTABLE_ROOMS = frozenset({"gateway", "federation", "errors", "clock", "telemetry", "memo"})
_SKIPPED = frozenset({"__pycache__", "node_modules", "python_modules"})


def find_unportable(root: Path, *, cwd: Path) -> list[str]:
    """Return a finding, with file and line, for each import below `root` that Cloudflare lacks."""
    return [
        f"{shown_path(path, cwd=cwd)}:{line}: {message}"
        for path in sorted(root.rglob("*.py"))
        if not _is_skipped(path.relative_to(root))
        for line, message in unportable_imports(path.read_text(encoding="utf-8", errors="replace"))
    ]


def unportable_imports(source: str) -> list[tuple[int, str]]:
    """Return line and reason of each import that Cloudflare lacks; none if it doesn't parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found = []
    for line, name in _imports(tree):
        top, _, rest = name.partition(".")
        reason = REFUSED.get(top)
        if top == "dohost" and rest.partition(".")[0] not in _PORTABLE_ROOMS:
            reason = "Worker code can use dohost.gateway and dohost.federation only"
        if reason is not None:
            found.append((line, f'import of "{name}": {reason}.'))
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "dohost":
                for alias in node.names:
                    yield node.lineno, f"dohost.{alias.name}"
            else:
                yield node.lineno, node.module


def _is_skipped(path: Path) -> bool:
    return any(part in _SKIPPED or part.startswith(".") for part in path.parts)
