"""Looking into files never changes them."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from dohost.errors import CallerError, Quarantined
from dohost.storage.inspection import Blob, facts, query


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (v); INSERT INTO t VALUES (1), ('x'), (x'00ff'), (NULL)")
    connection.close()
    return path


def test_rows_keep_their_types(file: Path) -> None:
    answer = query(file, "SELECT v FROM t")
    assert answer.columns == ("v",)
    assert [row[0] for row in answer.rows] == [1, "x", Blob(hex="00ff"), None]


@pytest.mark.parametrize(("rows_max", "is_cut"), [(3, True), (4, False)])
def test_rows_are_bounded(file: Path, *, rows_max: int, is_cut: bool) -> None:
    assert query(file, "SELECT v FROM t", rows_max=rows_max).is_cut == is_cut


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM t", "CREATE TABLE u (v)", "ATTACH 'other.sqlite' AS o", "SELEC", "SELECT ?"],
)
def test_what_writes_or_is_wrong_is_the_callers_error(file: Path, sql: str) -> None:
    before = file.read_bytes()
    with pytest.raises(CallerError):
        query(file, sql)
    assert file.read_bytes() == before


def test_query_only_cannot_be_switched_off(file: Path) -> None:
    query(file, "PRAGMA query_only = 0")
    with pytest.raises(CallerError):
        query(file, "PRAGMA query_only = 0; DELETE FROM t")


def test_an_endless_statement_is_stopped(file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(CallerError, match="took too long"):
        query(file, endless)


def test_an_empty_result_has_columns_or_none(file: Path) -> None:
    assert query(file, "SELECT v FROM t WHERE 0").rows == ()
    assert query(file, "").columns == ()


def test_a_file_of_another_program_has_no_facts(file: Path) -> None:
    assert (facts(file).name, facts(file).alarm_ms) == (None, None)


def test_what_is_no_database_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Quarantined):
        facts(path)
    with pytest.raises(Quarantined):
        query(path, "SELECT * FROM sqlite_schema")


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(CallerError):
        query(tmp_path / "gone.sqlite", "SELECT 1")
    assert not (tmp_path / "gone.sqlite").exists()
