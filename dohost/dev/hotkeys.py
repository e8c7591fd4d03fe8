"""Single keys while the server runs, only where a person sits at the terminal.

The box and the look-up are pure; `Keyboard` alone touches the terminal: it asks for single characters
without echo and gives the terminal back as it was, at the end and while the process is suspended (Ctrl-Z).
A shell brings a process back with the shell's own mode, so the keyboard takes the terminal again then; in
the background it leaves it alone, because whoever touches it there is stopped by the system.
"""

from __future__ import annotations

import asyncio
import os
import signal
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
        self._take()
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._loop.add_signal_handler(signal.SIGCONT, self._go_on)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._loop.remove_signal_handler(signal.SIGCONT)
        self._give_back()

    def _take(self) -> None:
        if self._saved is None and self._is_in_foreground():
            self._saved = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSANOW)
            self._loop.add_reader(self._fd, self._read)

    def _give_back(self) -> None:
        saved, self._saved = self._saved, None
        if saved is not None:
            self._loop.remove_reader(self._fd)
            if self._is_in_foreground():
                termios.tcsetattr(self._fd, termios.TCSANOW, saved)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # the terminal is gone
            return False

    def _suspend(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self) -> None:
        # Also after a SIGSTOP from elsewhere, of which nobody was told.
        self._give_back()
        self._take()

    def _read(self) -> None:
        pressed = os.read(self._fd, 64)
        if not pressed:  # the terminal is gone; without this the loop would spin
            self._loop.remove_reader(self._fd)
        for key in pressed.decode("utf-8", "ignore"):
            hotkey = find_hotkey(self._hotkeys, key)
            if hotkey is not None:
                hotkey.action()
