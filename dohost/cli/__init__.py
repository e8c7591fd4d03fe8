"""The command line. `main` alone is here; each command is a file that is imported when it is run."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit the process with its code."""
    from dohost.cli.group import run  # documented lazy import: `import dohost.cli` costs nothing

    raise SystemExit(run())
