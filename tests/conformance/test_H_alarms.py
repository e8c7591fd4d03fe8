"""Rows H: alarms, on a clock that the test moves. (H15 and H16 are adapted: the index is our catalog.)"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from dohost.errors import JsException, JsTypeError
from dohost.runtime.catalog import ObjectKey
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/alarms.py", evict_after_s=None)


def clock(dohost: IsolatedHost, name: str = "a"):
    return dohost.env.CLOCK.getByName(name)


def event_names(dohost: IsolatedHost) -> list[str]:
    return [event.name for event in dohost.events]


async def runs_after(dohost: IsolatedHost, seconds: float) -> list[dict[str, object]]:
    await dohost.advance(seconds)
    return await clock(dohost).runs()


async def test_H1_fires_once_at_its_time_and_is_gone(dohost: IsolatedHost) -> None:
    due_ms = dohost.now_ms + 50
    await clock(dohost).set(due_ms)
    assert await clock(dohost).get() == due_ms
    assert type(await clock(dohost).get()) is int
    assert await runs_after(dohost, 0.049) == []
    (run,) = await runs_after(dohost, 10)
    assert run["at"] == run["scheduled"] == due_ms
    assert run["seen"] is None
    assert await clock(dohost).get() is None


async def test_H2_a_deleted_alarm_never_fires(dohost: IsolatedHost) -> None:
    await clock(dohost).set(dohost.now_ms + 50)
    await clock(dohost).unset()
    assert await runs_after(dohost, 10) == []


async def test_H3_setting_and_deleting_in_the_handler_leaves_none(dohost: IsolatedHost) -> None:
    await clock(dohost).plan("set-and-unset")
    await clock(dohost).set(dohost.now_ms + 50)
    assert len(await runs_after(dohost, 10)) == 1
    assert await clock(dohost).get() is None


@pytest.mark.parametrize("due", [0, -1])
async def test_H4_a_time_that_is_not_positive_is_refused(dohost: IsolatedHost, due: int) -> None:
    with pytest.raises(JsException, match=r"setAlarm\(\) cannot be called with an alarm time <= 0"):
        await clock(dohost).set(due)


async def test_H5_a_class_without_a_handler_sets_none_but_in_its_constructor(
    dohost: IsolatedHost,
) -> None:
    with pytest.raises(JsTypeError, match=r"must have an alarm\(\) handler"):
        await dohost.env.DEAF.getByName("a").set(dohost.now_ms + 1000)
    assert await dohost.env.DEAF_FROM_BIRTH.getByName("a").get() == dohost.now_ms + 1000


async def test_H6_the_last_time_counts_and_the_same_again_is_no_write(
    dohost: IsolatedHost,
) -> None:
    first_ms = dohost.now_ms + 1000
    await clock(dohost).set(first_ms)
    await clock(dohost).set(first_ms + 4000)
    assert [run["scheduled"] for run in await runs_after(dohost, 10)] == [first_ms + 4000]
    await clock(dohost).set(dohost.now_ms + 1000)
    commits = dohost._host.parts.committer.commits
    await clock(dohost).set(dohost.now_ms + 1000)
    await dohost.settle()
    assert dohost._host.parts.committer.commits == commits


async def test_H7_a_datetime_is_taken(dohost: IsolatedHost) -> None:
    due_ms = dohost.now_ms + 1000
    await clock(dohost).set(datetime.fromtimestamp(due_ms / 1000, UTC))
    assert await clock(dohost).get() == due_ms


async def test_H8_an_alarm_and_a_value_are_written_or_undone_together(
    dohost: IsolatedHost,
) -> None:
    due_ms = dohost.now_ms + 60_000
    await clock(dohost).set_and_put(due_ms, False)
    with pytest.raises(JsException, match="undo both"):
        await clock(dohost).set_and_put(due_ms + 1, True)
    assert (await clock(dohost).get(), await clock(dohost).beside()) == (due_ms, due_ms)


async def test_H9_a_failing_handler_runs_seven_times_and_is_then_given_up(
    dohost: IsolatedHost,
) -> None:
    due_ms = dohost.now_ms + 1000
    await clock(dohost).plan(*["fail"] * 8)
    await clock(dohost).set(due_ms)
    runs = await runs_after(dohost, 300)
    assert [run["retry"] for run in runs] == list(range(7))
    assert [run["is_retry"] for run in runs] == [False] + [True] * 6
    assert {run["scheduled"] for run in runs} == {due_ms}
    for number, (before, after) in enumerate(itertools.pairwise(runs)):
        assert 2000 * 2**number <= after["at"] - before["at"] <= 2500 * 2**number
    assert event_names(dohost)[-1] == "alarm.given_up"
    assert await clock(dohost).get() is None
    assert len(await runs_after(dohost, 100_000)) == 7


async def test_H10_a_new_alarm_counts_though_the_handler_then_fails(dohost: IsolatedHost) -> None:
    await clock(dohost).plan("set-and-fail")
    await clock(dohost).set(dohost.now_ms + 1000)
    first, second = await runs_after(dohost, 60)
    assert second["at"] - first["at"] == 500
    assert second["is_retry"] is False


async def test_H11_between_retries_the_time_is_the_first_and_the_alarm_can_be_deleted(
    dohost: IsolatedHost,
) -> None:
    due_ms = dohost.now_ms + 1000
    await clock(dohost).plan("fail", "fail")
    await clock(dohost).set(due_ms)
    await dohost.advance(1.5)
    assert await clock(dohost).get() == due_ms
    await clock(dohost).unset()
    assert len(await runs_after(dohost, 60)) == 1


@pytest.mark.parametrize("step", ["abort", "section"])
async def test_H12_a_reset_in_the_handler_is_retried(dohost: IsolatedHost, step: str) -> None:
    await clock(dohost).plan(step)
    await clock(dohost).set(dohost.now_ms + 1000)
    assert [run["retry"] for run in await runs_after(dohost, 60)] == [0, 1]


async def test_H12_abort_without_retry_abandons_the_alarm(dohost: IsolatedHost) -> None:
    await clock(dohost).plan("abandon")
    await clock(dohost).set(dohost.now_ms + 1000)
    assert len(await runs_after(dohost, 60)) == 1
    assert await clock(dohost).get() is None
    await dohost.restart()
    assert len(await runs_after(dohost, 60)) == 1


async def test_H13_an_alarm_that_was_set_before_the_abandonment_is_kept(
    dohost: IsolatedHost,
) -> None:
    await clock(dohost).plan("abandon-anew")
    await clock(dohost).set(dohost.now_ms + 1000)
    first, second = await runs_after(dohost, 100)
    assert second["at"] - first["at"] == 60_000


async def test_H14_after_eviction_the_handler_still_knows_its_name(dohost: IsolatedHost) -> None:
    await clock(dohost, "carol").set(dohost.now_ms + 1000)
    await dohost.evict(clock(dohost, "carol"))
    await dohost.advance(1)
    assert [run["name"] for run in await clock(dohost, "carol").runs()] == ["carol"]


async def test_H15_the_name_is_kept_though_the_alarm_is_set_by_id(dohost: IsolatedHost) -> None:
    await clock(dohost, "carol").set(dohost.now_ms + 1000)
    await dohost.evict_all()
    by_id = dohost.env.CLOCK.get(dohost.env.CLOCK.idFromString(str(clock(dohost, "carol").id)))
    await by_id.set(dohost.now_ms + 500)
    await dohost.restart()
    await dohost.advance(1)
    assert [run["name"] for run in await clock(dohost, "carol").runs()] == ["carol"]


async def test_H16_a_restart_keeps_an_alarm_in_the_far_future(dohost: IsolatedHost) -> None:
    due_ms = dohost.now_ms + 365 * 86_400_000
    await clock(dohost).set(due_ms)
    await dohost.restart()
    assert dohost._host.parts.alarms.next_fire_ms() == due_ms
    assert await clock(dohost).get() == due_ms


async def test_H17_what_is_overdue_at_a_restart_fires_at_once(dohost: IsolatedHost) -> None:
    await clock(dohost).set(dohost.now_ms + 1000)
    await dohost.settle()
    await dohost.stop()
    dohost.clock.advance(3600)
    await dohost.start()
    await dohost.settle()
    assert len(await clock(dohost).runs()) == 1


@pytest.mark.parametrize(
    ("in_file_s", "runs_at_s"),
    [(60, 60), (None, None), (1, 5)],
    ids=["later", "none", "past"],
)
async def test_H20_the_objects_own_file_decides(
    dohost: IsolatedHost, in_file_s: int | None, runs_at_s: int | None
) -> None:
    started_ms = dohost.now_ms
    await clock(dohost).plan()
    if in_file_s is not None:
        await clock(dohost).set(started_ms + in_file_s * 1000)
    # As a crash between two files leaves it: the index says five seconds, whatever the object says.
    key = ObjectKey("alarms-Clock", str(clock(dohost).id))
    await dohost._host.parts.catalog.set_alarm(key, started_ms + 5000)
    await dohost.restart()
    runs = await runs_after(dohost, 100)
    expected = [] if runs_at_s is None else [started_ms + runs_at_s * 1000]
    assert [run["at"] for run in runs] == expected
    assert await dohost._host.parts.catalog.alarms() == []


async def test_H21_a_failed_commit_in_the_handler_leaves_the_alarm_for_a_retry(
    dohost: IsolatedHost,
) -> None:
    await clock(dohost).set(dohost.now_ms + 1000)
    dohost.fail_next_commit(clock(dohost))
    await dohost.advance(1.5)
    assert await clock(dohost).runs() == []
    (run,) = await runs_after(dohost, 10)
    assert run["retry"] == 0


async def test_H23_other_events_go_on_beside_a_handler_and_no_second_one(
    dohost: IsolatedHost,
) -> None:
    await clock(dohost).plan("wait")
    await clock(dohost).set(dohost.now_ms + 1000)
    await dohost.advance(1)
    due_ms = dohost.now_ms + 5000
    await clock(dohost).set(due_ms)
    assert len(await runs_after(dohost, 20)) == 1
    first, second = await runs_after(dohost, 20)
    # Not before the first run has ended, though it was due long before. (Its sleep follows the loop's
    # time, which runs on by the moments that the test itself takes.)
    assert 29_000 <= second["at"] - first["at"] < 31_000
    assert second["scheduled"] == due_ms


async def test_H24_set_to_now_in_the_handler_runs_again_after_it(dohost: IsolatedHost) -> None:
    await clock(dohost).plan("set-now", "set-now")
    await clock(dohost).set(dohost.now_ms + 1000)
    runs = await runs_after(dohost, 1)
    assert [run["retry"] for run in runs] == [0, 0, 0]
    assert len({run["at"] for run in runs}) == 1


async def test_H25_an_alarm_without_its_handler_warns_and_is_not_retried(
    dohost: IsolatedHost,
) -> None:
    await dohost.env.DEAF_FROM_BIRTH.getByName("a").get()
    await dohost.advance(60)
    assert event_names(dohost) == ["alarm.no_handler"]
    assert "did you remember to export an alarm() function?" in str(dohost.events[0].fields)


async def test_H26_the_handler_may_take_the_facts_or_not(dohost: IsolatedHost) -> None:
    await dohost.env.PLAIN.getByName("a").set(dohost.now_ms + 100)
    await clock(dohost).set(dohost.now_ms + 100)
    await dohost.advance(0.1)
    assert await dohost.env.PLAIN.getByName("a").fired() is True
    assert len(await clock(dohost).runs()) == 1


async def test_a_handler_that_takes_a_quarter_of_an_hour_is_cut_and_retried(
    dohost: IsolatedHost,
) -> None:
    await clock(dohost).plan("for-ever")
    await clock(dohost).set(dohost.now_ms + 1000)
    assert len(await runs_after(dohost, 900)) == 1
    first, second = await runs_after(dohost, 10)
    assert second["retry"] == 1
    # The run begins a little before its handler looks at the clock.
    assert second["at"] - first["at"] >= 901_500
    (failed,) = [event for event in dohost.events if event.name == "alarm.failed"]
    assert "Alarm exceeded its allowed execution time" in str(failed.fields["error"])
