"""Connections of a server process keep little memory; they are counted where they are many."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import resource, sys
import apsw
from dohost.storage.connection import use_little_memory

if sys.argv[1] == "little":
    use_little_memory()
connections = [apsw.Connection(":memory:") for _ in range(20)]
for connection in connections:
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
use_little_memory()  # with connections open it changes nothing
assert connections[0].execute("SELECT x FROM t").get == 1
print(apsw.status(apsw.SQLITE_STATUS_MEMORY_USED)[0] // len(connections))
"""


def bytes_each(how: str) -> int:
    command = [sys.executable, "-c", MEASURE, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.long
def test_a_connection_of_a_server_takes_half_of_what_sqlite_gives_it_by_default() -> None:
    assert bytes_each("little") < bytes_each("default") // 2
