"""Rows in columns as plain text: full width in pipes and narrow terminals alike, ready for grep. Pure."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "   "
_KIB = 1024


def columns_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return headings and rows with each column as wide as its widest cell."""
    lines = [[_one_line(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def size_text(size_bytes: int) -> str:
    """Return a size as people read it."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < _KIB or unit == "TiB":
            break
        size /= _KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _one_line(cell: str) -> str:
    """Escape what would break the row or drive the terminal; data may hold anything."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cell
    )
