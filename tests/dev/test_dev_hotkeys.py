"""The keyboard of a terminal, over Ctrl-Z and `fg`: a process on a pseudo-terminal, and a shell's part."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import termios
from collections.abc import Iterator

import pytest

PROGRAM = """
import asyncio
from dohost.dev.hotkeys import Hotkey, Keyboard

async def main():
    stopped = asyncio.Event()
    keys = (
        Hotkey(keys=("p",), label="pong", action=lambda: print("pong", flush=True)),
        Hotkey(keys=("x",), label="exit", action=stopped.set),
    )
    with Keyboard(keys, loop=asyncio.get_running_loop()):
        print("ready", flush=True)
        await stopped.wait()

asyncio.run(main())
print("bye", flush=True)
"""


class Terminal:
    """One process in the foreground of a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM])

    def wait_for(self, text: str) -> None:
        seen = b""
        while text.encode() not in seen:
            assert select.select([self.fd], [], [], 20)[0], f"no {text!r} in {seen!r}"
            seen += os.read(self.fd, 1024)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    @property
    def is_by_character(self) -> bool:
        """Whether keys arrive one by one, and unseen."""
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    try:
        terminal.wait_for("ready")
        yield terminal
    finally:
        terminal.end()


def suspend(terminal: Terminal) -> None:
    terminal.type(b"\x1a")
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def test_ctrl_z_gives_the_terminal_back_and_fg_brings_the_hotkeys_again(terminal: Terminal) -> None:
    assert terminal.is_by_character
    for _ in range(2):
        suspend(terminal)
        assert not terminal.is_by_character
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.type(b"p")
        terminal.wait_for("pong")
        assert terminal.is_by_character
    terminal.type(b"x")
    terminal.wait_for("bye")


def test_a_mode_that_somebody_else_set_while_it_was_stopped_is_set_again(
    terminal: Terminal,
) -> None:
    os.kill(terminal.pid, signal.SIGSTOP)
    os.waitpid(terminal.pid, os.WUNTRACED)
    mode = termios.tcgetattr(terminal.fd)
    mode[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(terminal.fd, termios.TCSANOW, mode)
    os.kill(terminal.pid, signal.SIGCONT)
    while not terminal.is_by_character:
        select.select([], [], [], 0.01)
    terminal.type(b"p")
    terminal.wait_for("pong")
