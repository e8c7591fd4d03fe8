"""Single keys while the server runs, only where a person sits at the terminal.

The box and the look-up are pure; `Keyboard` alone touches the terminal: it asks for single characters
without echo and gives the terminal back as it was.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from types import TracebackType

import msgspec


class Hotkey(msgspec.Struct, frozen=True, kw_only=True):
    """`keys` (the first is shown) call `action`."""

    keys: tuple[str, ...]
    label: str
    action: Callable[[], None]


def hotkey_box(hotkeys: Sequence[Hotkey], *, width: int) -> str:
    """Return the keys in a box; one line if they fit into `width`, else one line each."""
    entries = [f"[{hotkey.keys[0]}] {hotkey.label}" for hotkey in hotkeys]
    lines = [" ".join(entries)]
    if len(lines[0]) + 4 > width:
        lines = entries
    inner = max(len(line) for line in lines)
    rows = [f"│ {line.ljust(inner)} │" for line in lines]
    return "\n".join([f"╭{'─' * (inner + 2)}╮", *rows, f"╰{'─' * (inner + 2)}╯"])


def find_hotkey(hotkeys: Sequence[Hotkey], key: str) -> Hotkey | None:
    """Return what `key` means, in either case of letters."""
    return next((hotkey for hotkey in hotkeys if key.lower() in hotkey.keys), None)


def is_interactive() -> bool:
    """Say whether a person can press keys here."""
    return sys.stdin is not None and sys.stdin.isatty()


class Keyboard:
    """Context manager that reads keys from the terminal while the event loop runs."""

    def __init__(self, hotkeys: Sequence[Hotkey], *, loop: asyncio.AbstractEventLoop) -> None:
        self._hotkeys = hotkeys
        self._loop = loop
        self._fd = sys.stdin.fileno()
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> Keyboard:
        self._saved = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSANOW)
        self._loop.add_reader(self._fd, self._read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._fd)
        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)

    def _read(self) -> None:
        pressed = os.read(self._fd, 64)
        if not pressed:  # the terminal is gone; without this the loop would spin
            self._loop.remove_reader(self._fd)
        for key in pressed.decode("utf-8", "ignore"):
            hotkey = find_hotkey(self._hotkeys, key)
            if hotkey is not None:
                hotkey.action()
