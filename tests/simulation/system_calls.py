"""System calls of another process, seen one by one and answered in the kernel's place.

Linux lets a process ask a supervisor about chosen system calls (seccomp's user notification): the calling
thread stands still until the supervisor says "go on" or gives the result. So a fault happens exactly at
one call, whichever thread makes it, in the process as it is: no library is replaced, nothing is
compiled, and a fault can begin and end at any moment.

`install` runs in the process to be watched and `Supervisor` in the one that watches it, in a thread of its
own. Nothing here knows files' names or what is checked.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import heapq
import itertools
import os
import platform
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

# By machine: its number for seccomp, the number of the call `seccomp`, then the watched calls' numbers.
_X86_64 = {
    "write": 1,
    "pwrite64": 18,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "unlink": 87,
    "openat": 257,
    "fallocate": 285,
}
_AARCH64 = {
    "write": 64,
    "pwrite64": 68,
    "fsync": 82,
    "fdatasync": 83,
    "ftruncate": 46,
    "renameat": 38,
    "mkdirat": 34,
    "unlinkat": 35,
    "openat": 56,
    "fallocate": 47,
}
_MACHINES = {"x86_64": (0xC000003E, 317, _X86_64), "aarch64": (0xC00000B7, 277, _AARCH64)}
_PIDFD_GETFD = 438
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_RETURN_NOTIFY = 0x7FC00000
_RETURN_ALLOW = 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1
_REQUEST = struct.Struct("<QIIiIQ6Q")
_ANSWER = struct.Struct("<QqiI")
_PATH_FIRST = frozenset({"rename", "mkdir", "unlink"})
_PATH_SECOND = frozenset({"openat", "renameat", "mkdirat", "unlinkat"})
_LOOK_S = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


class Call(msgspec.Struct, frozen=True):
    """One call: its name without the ending `at`, its file, what it writes where, and how it opens."""

    name: str
    path: str
    size: int = 0
    offset: int = 0
    flags: int = 0


class Fails(msgspec.Struct, frozen=True):
    """Do nothing and return this error."""

    error: int


class WritesLess(msgspec.Struct, frozen=True):
    """Write only so many bytes, as a disk with little room may."""

    size: int


class Waits(msgspec.Struct, frozen=True):
    """Go on after so many seconds."""

    seconds: float


Decision = Fails | WritesLess | Waits | None
Decide = Callable[[Call], Decision]


def is_available() -> bool:
    """Whether this machine can watch the calls of a process."""
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    return (
        platform.machine() in _MACHINES and actions.exists() and "user_notif" in actions.read_text()
    )


def install(supervisor: str) -> None:
    """Have every later call of this process watched by the one that listens at the socket `supervisor`.

    Raises: OSError where the system does not let us.
    """
    machine, seccomp, numbers = _MACHINES[platform.machine()]
    watched = list(numbers.values())
    count = len(watched)
    program = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 0, count + 1, machine), (_LOAD, 0, 0, 0)]
    program += [(_JUMP_IF_EQUAL, count - index, 0, number) for index, number in enumerate(watched)]
    program += [(_RETURN, 0, 0, _RETURN_ALLOW), (_RETURN, 0, 0, _RETURN_NOTIFY)]
    code = b"".join(struct.pack("<HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("@HxxxxxxQ", len(program), ctypes.addressof(buffer))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(supervisor)
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = _libc.syscall(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, header)
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp")
        fds = array.array("i", [listener])
        connection.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(listener)


class Supervisor:
    """Answers for the calls of one process at a time, as `decide` says; it may be changed at any moment."""

    def __init__(self, directory: Path, decide: Decide) -> None:
        self.address = str(directory / "calls")
        self.decide = decide
        self._names = {
            number: name.removesuffix("at")
            for name, number in _MACHINES[platform.machine()][2].items()
        }
        self._long = {number: name for name, number in _MACHINES[platform.machine()][2].items()}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        self._socket.listen()
        self._socket.settimeout(_LOOK_S)
        self._is_over = False
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the watched process must have ended."""
        self._is_over = True
        self._thread.join()
        self._socket.close()
        os.unlink(self.address)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._is_over:
                with contextlib.suppress(TimeoutError):
                    connection, _ = self._socket.accept()
                    with connection:
                        connection.settimeout(5)
                        _, fds, _, _ = socket.recv_fds(connection, 1, 1)
                        self._process = os.pidfd_open(_peer(connection))
                    try:
                        self._serve(fds[0])
                    finally:
                        os.close(fds[0])
                        os.close(self._process)
        except BaseException as error:
            self.failure = error
            raise

    def _serve(self, listener: int) -> None:
        """Answer until the process has ended."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not self._is_over:
            timeout_s = _LOOK_S
            while self._waiting:
                timeout_s = self._waiting[0][0] - time.monotonic()
                if timeout_s > 0:
                    break
                self._answer(listener, heapq.heappop(self._waiting)[2])
                timeout_s = _LOOK_S
            for _, event in poll.poll(min(timeout_s, _LOOK_S) * 1000):
                if event & select.POLLIN:
                    self._take(listener)
                if event & (select.POLLHUP | select.POLLERR):
                    self._waiting.clear()
                    return

    def _take(self, listener: int) -> None:
        buffer = bytearray(_REQUEST.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # The thread was killed meanwhile.
                return
            raise
        cookie, thread, _, number, _, _, *arguments = _REQUEST.unpack(buffer)
        goes_on = _ANSWER.pack(cookie, 0, 0, _GO_ON)
        try:
            call = self._call(thread, number, arguments)
            decision = self.decide(call)
            match decision:
                case None:
                    answer = goes_on
                case Fails(error=code):
                    answer = _ANSWER.pack(cookie, 0, -code, 0)
                case WritesLess(size=size):
                    answer = _ANSWER.pack(cookie, self._write(thread, arguments, size), 0, 0)
                case Waits(seconds=seconds):
                    due_s = time.monotonic() + seconds
                    heapq.heappush(self._waiting, (due_s, next(self._order), goes_on))
                    return
        except (FileNotFoundError, ProcessLookupError):  # Likewise.
            answer = goes_on
        self._answer(listener, answer)

    def _answer(self, listener: int, answer: bytes) -> None:
        try:
            fcntl.ioctl(listener, _SEND, answer)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _call(self, thread: int, number: int, arguments: list[int]) -> Call:
        name, long = self._names[number], self._long[number]
        if long in _PATH_FIRST or long in _PATH_SECOND:
            is_second = long in _PATH_SECOND
            path = _text(thread, arguments[is_second])
            if not path.startswith("/"):
                directory = _int(arguments[0]) if is_second else _AT_FDCWD
                path = f"{_directory(thread, directory)}/{path}"
            return Call(name, path, flags=arguments[2] if name == "open" else 0)
        path = _file(thread, _int(arguments[0]))
        size = arguments[2] if "write" in name else 0
        return Call(name, path, size, offset=arguments[3] if name == "pwrite64" else 0)

    def _write(self, thread: int, arguments: list[int], size: int) -> int:
        """Write the beginning of what the call wants written; return how much that was."""
        descriptor = _libc.syscall(_PIDFD_GETFD, self._process, _int(arguments[0]), 0)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        try:
            return os.pwrite(descriptor, _memory(thread, arguments[1], size), arguments[3])
        finally:
            os.close(descriptor)


_AT_FDCWD = -100


def _int(argument: int) -> int:
    """Return a register's content as the 32-bit number with a sign that a descriptor is."""
    value = argument & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    process: int = struct.unpack("iII", credentials)[0]
    return process


def _file(thread: int, descriptor: int) -> str:
    return os.readlink(f"/proc/{thread}/fd/{descriptor}")


def _directory(thread: int, descriptor: int) -> str:
    if descriptor == _AT_FDCWD:
        return os.readlink(f"/proc/{thread}/cwd")
    return _file(thread, descriptor)


def _memory(thread: int, address: int, size: int) -> bytes:
    descriptor = os.open(f"/proc/{thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, address)
    finally:
        os.close(descriptor)


def _text(thread: int, address: int) -> str:
    content = b""
    while b"\0" not in content:
        # Not beyond the page: the next one may not be there.
        start = address + len(content)
        content += _memory(thread, start, 4096 - start % 4096)
    return os.fsdecode(content.partition(b"\0")[0])
