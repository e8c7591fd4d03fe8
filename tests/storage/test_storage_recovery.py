"""Point-in-time recovery: every commit can be gone back to, over checkpoints, restarts and crashes."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_bench import META, StorageBench

from dohost.errors import HostError, JsException
from dohost.storage import restore
from dohost.storage.connection import frames_committed
from dohost.storage.history import HistoryLimits, history_path, opened_history
from dohost.storage.restore import order_path


def state(bench: StorageBench) -> dict[str, object]:
    return dict(bench.storage.list()._result)


def put(bench: StorageBench, key: str, value: object) -> None:
    bench.storage.put(key, value)
    bench.end_turn()


def checkpoint(bench: StorageBench) -> None:
    """Let the log start anew at the next write, as the runtime does when it has grown long."""
    bench.database.checkpoint_passive()
    bench.database.checkpoint_finish()


def bookmark(bench: StorageBench) -> str:
    return bench.storage.getCurrentBookmark()._result


def go_to(bench: StorageBench, text: str) -> str:
    undo = bench.storage.onNextSessionRestoreBookmark(text)._result
    bench.reopen()
    return undo


async def test_bookmarks_increase_over_restarts_and_checkpoints(bench: StorageBench) -> None:
    bookmarks = []
    for turn in range(6):
        bookmarks += [bookmark(bench), bookmark(bench)]
        if turn % 2:
            bench.storage.put("k", turn)
            bookmarks.append(bookmark(bench))
        bench.end_turn()
        bench.reopen()
        if turn == 3:
            checkpoint(bench)
            bookmarks.append(bookmark(bench))
    assert sorted(set(bookmarks)) == bookmarks
    assert all(len(each) == len("00000085-0000024b-00004c6d-" + 32 * "0") for each in bookmarks)


async def test_every_commit_can_be_gone_back_to_and_undone(bench: StorageBench) -> None:
    past: list[tuple[str, dict[str, object]]] = []
    for number in range(9):
        put(bench, f"k{number % 4}", "x" * 3000 * number)
        past.append((bookmark(bench), state(bench)))
        if number in (3, 6):
            checkpoint(bench)
    now = state(bench)
    for text, then in past:
        undo = go_to(bench, text)
        assert state(bench) == then
        go_to(bench, undo)
        assert state(bench) == now


async def test_a_bookmark_of_an_open_transaction_holds_what_it_wrote(bench: StorageBench) -> None:
    put(bench, "k", 1)
    bench.storage.put("k", 2)
    text = bookmark(bench)
    bench.storage.put("l", 3)
    bench.end_turn()
    put(bench, "k", 4)
    go_to(bench, text)
    assert state(bench) == {"k": 2, "l": 3}


async def test_tables_and_the_alarm_come_back(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (x)")
    bench.sql("INSERT INTO t VALUES (1)")
    bench.storage.setAlarm(bench.now_ms + 5000)
    bench.end_turn()
    text, alarm = bookmark(bench), await bench.storage.getAlarm()
    bench.storage.deleteAll()
    bench.end_turn()
    checkpoint(bench)
    put(bench, "k", 1)
    go_to(bench, text)
    assert bench.sql("SELECT x FROM t") == [{"x": 1}]
    assert state(bench) == {}
    assert await bench.storage.getAlarm() == alarm


async def test_an_abort_after_the_order_does_not_lose_it(bench: StorageBench) -> None:
    put(bench, "k", 1)
    text = bookmark(bench)
    put(bench, "k", 2)
    bench.storage.put("k", 3)
    bench.storage.onNextSessionRestoreBookmark(text)
    bench.database.rollback()
    bench.reopen()
    assert state(bench) == {"k": 1}
    assert not order_path(bench.path).exists()


async def test_a_time_gives_the_last_commit_before_that_second(bench: StorageBench) -> None:
    times = []
    for number in range(5):
        put(bench, "k", number)
        bench.clock.advance(1.0)
        times.append(bench.now_ms)
        if number == 2:
            checkpoint(bench)
    for number, time_ms in enumerate(times):
        go_to(bench, bench.storage.getBookmarkForTime(time_ms)._result)
        assert state(bench) == {"k": number}
    go_to(bench, bench.storage.getBookmarkForTime(times[0] - 1000)._result)
    assert state(bench) == {}


async def test_history_is_bounded_and_says_what_it_forgot(open_bench) -> None:
    bench = open_bench(history=HistoryLimits(commits_max=4, age_max_s=100))
    put(bench, "k", 0)
    first = bookmark(bench)
    for number in range(1, 9):
        put(bench, "k", number)
        if number % 2 == 0:
            checkpoint(bench)
    with opened_history(bench.path) as history:
        assert [each.commits for each in history.generations()] == [2, 2]
    with pytest.raises(JsException, match="not in the history of this object, or no longer"):
        bench.storage.onNextSessionRestoreBookmark(first)
    with pytest.raises(JsException, match="does not reach back to that time"):
        bench.storage.getBookmarkForTime(1)
    bench.clock.advance(200)
    put(bench, "k", 9)
    checkpoint(bench)
    with opened_history(bench.path) as history:
        assert [each.commits for each in history.generations()] == [1]


async def test_an_object_that_never_asks_has_no_history_file(bench: StorageBench) -> None:
    for number in range(50):
        put(bench, "k", number)
    bench.reopen()
    assert not history_path(bench.path).exists()


async def test_without_history_only_current_bookmarks_are_given(open_bench) -> None:
    bench = open_bench(history=HistoryLimits(commits_max=0))
    put(bench, "k", 1)
    text = bookmark(bench)
    for attempt in (
        lambda: bench.storage.getBookmarkForTime(bench.now_ms),
        lambda: bench.storage.onNextSessionRestoreBookmark(text),
    ):
        with pytest.raises(JsException, match="does not implement point-in-time recovery"):
            attempt()
    checkpoint(bench)
    assert bookmark(bench) > text


@pytest.mark.parametrize("text", ["", "x", None, 1, "0" * 60, f"{'0' * 8}-" * 3 + "f" * 32])
async def test_other_text_is_no_bookmark(bench: StorageBench, text: object) -> None:
    put(bench, "k", 1)
    with pytest.raises(JsException, match="not a bookmark"):
        bench.storage.onNextSessionRestoreBookmark(text)


async def test_a_bookmark_of_another_log_is_refused(open_bench) -> None:
    one, other = open_bench(), open_bench()
    for bench in (one, other):
        put(bench, "k", 1)
    with pytest.raises(JsException, match="not in the history"):
        one.storage.onNextSessionRestoreBookmark(bookmark(other))


async def test_a_log_that_another_program_emptied_cuts_the_history(bench: StorageBench) -> None:
    put(bench, "k", 1)
    text = bookmark(bench)
    bench.database.close()
    with apsw.Connection(str(bench.path)) as foreign:
        foreign.execute("SELECT * FROM _cf_KV").fetchall()
    foreign.close()  # the last to close copies the log and deletes it
    bench.open()
    assert bookmark(bench) > text
    put(bench, "k", 2)
    with pytest.raises(JsException, match="not in the history"):
        bench.storage.onNextSessionRestoreBookmark(text)
    later = bookmark(bench)
    put(bench, "k", 3)
    go_to(bench, later)
    assert state(bench) == {"k": 2}


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", ["write_database", "_check_and_mark", "replace_content", "after"])
async def test_a_restore_that_was_cut_off_is_repeated(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    put(bench, "k", 1)
    text = bookmark(bench)
    put(bench, "k", 2)
    undo = bench.storage.onNextSessionRestoreBookmark(text)._result
    order = order_path(bench.path).read_bytes()
    bench.database.close()

    def crash(*arguments: object, **named: object) -> None:
        raise Crash

    if step != "after":
        with monkeypatch.context() as patched:
            patched.setattr(restore, step, crash)
            with pytest.raises(Crash):
                bench.open()
    else:
        bench.open()
        put(bench, "k", 99)
        bench.database.close()
    # What a power cut can bring back: the order itself.
    order_path(bench.path).write_bytes(order)
    bench.open()
    assert state(bench) == ({"k": 1} if step != "after" else {"k": 99})
    go_to(bench, undo)
    assert state(bench) == {"k": 2}


async def test_a_state_that_is_gone_is_said_once(bench: StorageBench) -> None:
    put(bench, "k", 1)
    text = bookmark(bench)
    put(bench, "k", 2)
    bench.storage.onNextSessionRestoreBookmark(text)
    order = order_path(bench.path)
    order.write_bytes(order.read_bytes().replace(b"00000001-", b"00000009-", 1))
    bench.database.close()
    with pytest.raises(HostError, match="was not restored: This bookmark is not in the history"):
        bench.open()
    bench.open()
    assert state(bench) == {"k": 2}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abc"), st.integers(0, 20_000)),
            st.sampled_from(["checkpoint", "reopen", "delete all", "passive"]),
        ),
        max_size=20,
    ),
    choice=st.randoms(use_true_random=False),
)
def test_any_history_gives_any_of_its_states(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object], choice
) -> None:
    bench = StorageBench(tmp_path_factory.mktemp("history"))
    put(bench, "start", 1)
    past = [(bookmark(bench), state(bench))]
    for step in steps:
        match step:
            case "checkpoint":
                checkpoint(bench)
            case "passive":
                bench.database.checkpoint_passive()
            case "reopen":
                bench.reopen()
            case "delete all":
                bench.storage.deleteAll()
            case (key, size):
                bench.storage.put(key, "x" * size)
        bench.end_turn()
        past.append((bookmark(bench), state(bench)))
    for text, then in choice.sample(past, min(4, len(past))):
        go_to(bench, text)
        assert state(bench) == then
    bench.database.close()


def test_files_beside_an_object_do_not_look_like_objects(bench: StorageBench) -> None:
    put(bench, "k", 1)
    bookmark(bench)
    assert [each.name for each in bench.path.parent.glob("*.sqlite")] == [bench.path.name]
    assert Path(bench.path).parent.name == META.unique_key


def test_the_length_of_a_log_is_found_while_a_commit_changes_its_index() -> None:
    class Changing:
        def __init__(self) -> None:
            self.looks = 0

        def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
            self.looks += 1
            if self.looks < 4:
                raise apsw.BusyError("database is locked")
            return 7, 0

    assert frames_committed(Changing()) == 7  # type: ignore[arg-type]  # all that is asked of a connection
