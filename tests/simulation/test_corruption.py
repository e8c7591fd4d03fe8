"""Every kind of damaged file, on a real server: a stable error, no byte changed, nobody else affected."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from dohost.clock import SeededEntropy
from dohost.objects.id import IdFactory
from tests.simulation.ledger import UNIQUE_KEY, Ledgers, Outcome, write_project
from tests.simulation.server_process import Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

_IDS = IdFactory(UNIQUE_KEY, SeededEntropy(1))
# So many pages that damage in the middle hits what is read.
APPENDS = 15
PAGE = 4096


class Object:
    """The files of one object."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        directory = root / "data" / "v3" / "do" / UNIQUE_KEY
        self.main = directory / f"{_IDS.from_name(name).toString()}.sqlite"
        self.log = self.main.with_name(f"{self.main.name}-wal")
        self.index = self.main.with_name(f"{self.main.name}-shm")
        self.history = self.main.with_suffix(".history")

    def into_the_file(self) -> None:
        """Copy the log into the file and delete it, as a server that has long been up would."""
        connection = apsw.Connection(str(self.main))
        # A connection that has never read does not know that there is a log.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()
        self.log.unlink(missing_ok=True)
        self.index.unlink(missing_ok=True)

    def files(self) -> dict[str, bytes]:
        """Return what is there, but for the index and an empty log, which SQLite makes anew to look."""
        found = {
            each: each.read_bytes()
            for each in self.main.parent.glob(f"{self.main.stem}.*")
            if each.is_file() and each != self.index and each.suffix != ".quarantined"
        }
        return {
            path.name: content for path, content in found.items() if content or path != self.log
        }


def _junk(path: Path, *, start: int = 0) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:start] + random.Random(start).randbytes(len(content) - start))


def _cut(size: int) -> Callable[[Object], None]:
    def damage(found: Object) -> None:
        found.into_the_file()
        found.main.write_bytes(found.main.read_bytes()[:size])

    return damage


def _random_bytes(found: Object) -> None:
    _junk(found.main)


def _random_pages(found: Object) -> None:
    found.into_the_file()
    _junk(found.main, start=PAGE)


def _directory(found: Object) -> None:
    found.main.unlink()
    found.main.mkdir()


def _gone(found: Object) -> None:
    for each in (found.main, found.log, found.index):
        each.unlink(missing_ok=True)


def _lone_log(found: Object) -> None:
    found.main.unlink()


def _of_another_class(found: Object) -> None:
    _set_meta(found, "class_key", "bank-Vault")


def _of_another_id(found: Object) -> None:
    _set_meta(found, "object_id", "ab" * 32)


def _set_meta(found: Object, column: str, value: str) -> None:
    connection = apsw.Connection(str(found.main))
    connection.execute(f"UPDATE _cf_META SET {column} = ?", (value,))
    connection.close()


def _log_header(found: Object) -> None:
    content = bytearray(found.log.read_bytes())
    content[16] ^= 1
    found.log.write_bytes(content)


def _log_of_junk(found: Object) -> None:
    _junk(found.log)


def _index_of_junk(found: Object) -> None:
    found.index.write_bytes(random.Random(1).randbytes(32_768))


def _history_of_junk(found: Object) -> None:
    found.history.write_bytes(random.Random(2).randbytes(70_000))


DAMAGE: dict[str, Callable[[Object], None]] = {
    **{f"cut at {size}": _cut(size) for size in (0, 1, 15, 99, 100, 512, PAGE, 2 * PAGE)},
    "random bytes": _random_bytes,
    "random pages": _random_pages,
    "a directory": _directory,
    "gone": _gone,
    "a lone log": _lone_log,
    "of another class": _of_another_class,
    "of another id": _of_another_id,
    "a log with a damaged header": _log_header,
    "a log of junk": _log_of_junk,
}
# SQLite makes an index anew; the past is lost with a history, the present is not.
HARMLESS: dict[str, Callable[[Object], None]] = {
    "an index of junk": _index_of_junk,
    "a history of junk": _history_of_junk,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A production server, not started."""
    write_project(tmp_path)
    server = Server(tmp_path, command=("serve", "--json-logs", "--log-level", "warn"))
    yield server
    server.end(signal.SIGKILL)


def command_line(server: Server, *arguments: str) -> tuple[int, str]:
    """Run a command beside the server; return its exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "dohost", *arguments, "--persist-to", str(server.root / "data")],
        cwd=server.root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


async def test_a_damaged_object_says_so_and_stays_as_it_is(server: Server, tmp_path: Path) -> None:
    ledgers, names = Ledgers(), (*DAMAGE, *HARMLESS, "whole-1", "whole-2", "swapped-1", "swapped-2")
    objects = {name: Object(tmp_path, name.replace(" ", "-")) for name in names}
    server.start()
    async with Connection(server.port) as connection:
        for found in objects.values():
            for _ in range(APPENDS):
                await ledgers.append(connection, found.name)
    server.end(signal.SIGKILL)
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "data" / "v3", kept)
    for name, damage in (DAMAGE | HARMLESS).items():
        damage(objects[name])
    _swap(objects["swapped-1"], objects["swapped-2"])
    damaged = {name: objects[name] for name in (*DAMAGE, "swapped-1", "swapped-2")}
    before = {name: found.files() for name, found in damaged.items()}

    server.start()
    async with Connection(server.port) as connection:
        for found in damaged.values():
            answers = [
                await connection.ask(f"/{found.name}/{action}?0")
                for action in ("read", "append", "read")
            ]
            for answer in answers:
                assert answer.status == 500, (found.name, answer)
                assert json.loads(answer.body)["code"] == "object-quarantined", found.name
            assert str(found.main) not in answers[0].body, "where files are is not the client's"
        for name in (*HARMLESS, "whole-1", "whole-2"):
            await ledgers.read(connection, objects[name].name)
            assert await ledgers.append(connection, objects[name].name) is Outcome.acknowledged
    assert {name: found.files() for name, found in damaged.items()} == before
    _is_listed(server, damaged)

    server.end(signal.SIGKILL)
    _put_back(kept, damaged)
    server.start()
    await ledgers.read_all(server.port)
    async with Connection(server.port) as connection:
        for found in objects.values():
            assert await ledgers.append(connection, found.name) is Outcome.acknowledged


async def test_a_good_file_that_is_put_back_is_used_without_a_restart(
    server: Server, tmp_path: Path
) -> None:
    ledgers, found = Ledgers(), Object(tmp_path, "one")
    server.start()
    async with Connection(server.port) as connection:
        for _ in range(APPENDS):
            await ledgers.append(connection, found.name)
    server.end(signal.SIGKILL)
    found.into_the_file()
    good = found.main.read_bytes()
    found.main.write_bytes(good[:1000])
    server.start()
    async with Connection(server.port) as connection:
        assert (await connection.ask("/one/read")).status == 500
        found.main.write_bytes(good)
        await ledgers.read(connection, found.name)
        assert await ledgers.append(connection, found.name) is Outcome.acknowledged


def _swap(one: Object, other: Object) -> None:
    aside = one.main.with_suffix(".aside")
    for found in (one, other):
        found.into_the_file()
    one.main.rename(aside)
    other.main.rename(one.main)
    aside.rename(other.main)


def _put_back(kept: Path, damaged: dict[str, Object]) -> None:
    for found in damaged.values():
        for each in found.main.parent.glob(f"{found.main.stem}.*"):
            if each.is_dir():
                each.rmdir()
            else:
                each.unlink()
        for each in (kept / "do" / UNIQUE_KEY).glob(f"{found.main.stem}.*"):
            shutil.copy(each, found.main.parent)


def _is_listed(server: Server, damaged: dict[str, Object]) -> None:
    log = (server.root / "output").read_text()
    code, text = command_line(server, "doctor", "--json")
    problems = "\n".join(json.loads(text)["problems"])
    _, listing = command_line(server, "objects", "ls", "--json")
    listed = {each["object_id"]: each["problem"] for each in json.loads(listing)}
    assert code == 1
    for name, found in damaged.items():
        assert found.main.name in problems, name
        if name not in ("gone", "random pages"):
            assert listed[found.main.stem], name
    # Few of a kind reach the log, and each of those names its file.
    assert any(found.main.name in log for found in damaged.values())
