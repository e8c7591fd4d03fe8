"""Alarms as data: what setAlarm, getAlarm and deleteAlarm do to the file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from storage_bench import StorageBench
from workers.values import JsBigInt

from dohost.errors import JsTypeError


async def test_an_alarm_is_set_read_and_deleted(bench: StorageBench) -> None:
    assert await bench.storage.getAlarm() is None
    await bench.storage.setAlarm(bench.now_ms + 50)
    assert await bench.storage.getAlarm() == bench.now_ms + 50
    await bench.storage.deleteAlarm()
    assert await bench.storage.getAlarm() is None
    await bench.storage.deleteAlarm()


async def test_an_alarm_survives_a_restart_in_nanoseconds(bench: StorageBench) -> None:
    due = bench.now_ms + 50
    await bench.storage.setAlarm(due)
    bench.end_turn()
    bench.reopen()
    assert await bench.storage.getAlarm() == due
    assert bench.database.value("SELECT value FROM _cf_METADATA WHERE key = 1") == due * 1_000_000


@pytest.mark.parametrize("due", [0, -1, -0.5, datetime(1969, 1, 1)])
async def test_a_time_at_or_before_the_epoch_is_refused(
    bench: StorageBench, due: int | datetime
) -> None:
    with pytest.raises(JsTypeError, match=r"setAlarm\(\) cannot be called with an alarm time <= 0"):
        bench.storage.setAlarm(due)


@pytest.mark.parametrize(
    ("due", "message"),
    [
        *[(due, "is not of type 'date'") for due in ("soon", None, True, JsBigInt(9), 2**60)],
        *[(due, "not a valid Date") for due in (float("nan"), float("inf"))],
        *[(due, "dates after 2189") for due in (9e15, 9_223_372_036_855, datetime(9999, 1, 1))],
    ],
)
async def test_what_is_no_time_is_refused(bench: StorageBench, due: int, message: str) -> None:
    with pytest.raises(JsTypeError, match=message):
        bench.storage.setAlarm(due)


async def test_the_last_time_that_an_alarm_can_have(bench: StorageBench) -> None:
    await bench.storage.setAlarm(9_223_372_036_854)
    assert await bench.storage.getAlarm() == 9_223_372_036_854


async def test_a_past_time_means_now(bench: StorageBench) -> None:
    await bench.storage.setAlarm(1)
    assert await bench.storage.getAlarm() == bench.now_ms


async def test_datetimes_are_utc(bench: StorageBench) -> None:
    for due in (datetime(2100, 1, 1), datetime(2100, 1, 1, tzinfo=UTC)):
        await bench.storage.setAlarm(due)
        assert await bench.storage.getAlarm() == 4102444800000
        await bench.storage.deleteAlarm()


async def test_a_class_without_a_handler_can_set_alarms_in_its_constructor_only(
    open_bench: Callable[..., StorageBench],
) -> None:
    bench = open_bench(has_alarm_handler=False)
    with pytest.raises(JsTypeError, match=r"must have an alarm\(\) handler in order to call"):
        bench.storage.setAlarm(bench.now_ms + 1)
    bench.storage.is_constructing = True
    await bench.storage.setAlarm(bench.now_ms + 1)


async def test_setting_the_same_time_again_writes_nothing(bench: StorageBench) -> None:
    due = bench.now_ms + 50
    await bench.storage.setAlarm(due)
    bench.end_turn()
    await bench.storage.setAlarm(due)
    assert not bench.host.pending


async def test_the_alarm_belongs_to_the_transaction(bench: StorageBench) -> None:
    storage = bench.storage
    first, second = bench.now_ms + 50, bench.now_ms + 99

    def fail() -> None:
        storage.put("k", 1)
        storage.setAlarm(second)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        storage.transactionSync(fail)
    assert await storage.getAlarm() is None
    await storage.setAlarm(first)
    with pytest.raises(ValueError, match="no"):
        storage.transactionSync(fail)
    assert await storage.getAlarm() == first
    assert await storage.get("k") is None


async def test_the_runtime_hears_of_each_change_once(bench: StorageBench) -> None:
    storage = bench.storage
    due = bench.now_ms + 50
    assert storage.take_alarm_change() == (False, None)
    await storage.setAlarm(due + 1)
    await storage.setAlarm(due)
    bench.end_turn()
    assert storage.take_alarm_change() == (True, due)
    assert storage.take_alarm_change() == (False, due)
    await storage.deleteAlarm()
    await storage.setAlarm(due)
    bench.end_turn()
    assert storage.take_alarm_change() == (False, due)
    await storage.deleteAlarm()
    bench.end_turn()
    assert storage.take_alarm_change() == (True, None)


async def test_a_new_instance_knows_the_alarm_of_the_file(bench: StorageBench) -> None:
    due = bench.now_ms + 50
    await bench.storage.setAlarm(due)
    bench.end_turn()
    bench.reopen()
    assert bench.storage.take_alarm_change() == (False, due)
    assert bench.storage.alarm_due_ms() == due


async def set_due(bench: StorageBench) -> int:
    """Set an alarm that is due now, commit it, and start its handler."""
    due = bench.now_ms
    await bench.storage.setAlarm(due)
    bench.end_turn()
    bench.storage.take_alarm_change()
    bench.storage.begin_alarm_run()
    return due


async def test_while_its_handler_runs_the_alarm_is_invisible_and_success_deletes_it(
    bench: StorageBench,
) -> None:
    storage = bench.storage
    due = await set_due(bench)
    assert await storage.getAlarm() is None
    assert storage.alarm_due_ms() == due
    await storage.put("done", True)
    storage.finish_alarm_run(success=True)
    assert await storage.getAlarm() is None
    bench.end_turn()
    assert storage.take_alarm_change() == (True, None)


async def test_the_alarm_is_deleted_with_the_handlers_writes_or_not_at_all(
    bench: StorageBench,
) -> None:
    due = await set_due(bench)
    bench.storage.put("done", True)
    bench.storage.finish_alarm_run(success=True)
    bench.reopen()
    assert await bench.storage.get("done") is None
    assert await bench.storage.getAlarm() == due


async def test_after_a_failed_run_the_original_time_shows_again(bench: StorageBench) -> None:
    due = await set_due(bench)
    bench.storage.finish_alarm_run(success=False)
    assert await bench.storage.getAlarm() == due
    assert not bench.host.pending


@pytest.mark.parametrize("success", [True, False])
async def test_an_alarm_set_by_the_handler_outlives_its_run(
    bench: StorageBench, success: bool
) -> None:
    due = await set_due(bench)
    await bench.storage.setAlarm(due + 99)
    assert await bench.storage.getAlarm() == due + 99
    bench.end_turn()
    assert bench.storage.take_alarm_change() == (True, due + 99)
    bench.storage.finish_alarm_run(success=success)
    bench.end_turn()
    assert await bench.storage.getAlarm() == due + 99
    assert bench.storage.take_alarm_change() == (False, due + 99)


async def test_the_handler_may_set_the_very_same_time_again(bench: StorageBench) -> None:
    due = await set_due(bench)
    await bench.storage.setAlarm(due)
    assert await bench.storage.getAlarm() == due
    bench.storage.finish_alarm_run(success=True)
    bench.end_turn()
    assert bench.storage.take_alarm_change() == (True, due)


async def test_deleting_in_the_handler_removes_a_queued_alarm_and_prevents_retries(
    bench: StorageBench,
) -> None:
    due = await set_due(bench)
    await bench.storage.setAlarm(due + 99)
    await bench.storage.deleteAlarm()
    assert await bench.storage.getAlarm() is None
    bench.storage.finish_alarm_run(success=False)
    assert await bench.storage.getAlarm() is None


async def test_an_alarm_set_and_rolled_back_in_the_handler_is_as_if_never_set(
    bench: StorageBench,
) -> None:
    due = await set_due(bench)

    def fail() -> None:
        bench.storage.setAlarm(due + 99)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        bench.storage.transactionSync(fail)
    assert await bench.storage.getAlarm() is None
    bench.storage.finish_alarm_run(success=True)
    assert bench.storage.alarm_due_ms() is None


async def test_delete_all_deletes_the_alarm(bench: StorageBench) -> None:
    await bench.storage.setAlarm(bench.now_ms + 50)
    bench.end_turn()
    bench.storage.take_alarm_change()
    await bench.storage.deleteAll()
    assert await bench.storage.getAlarm() is None
    bench.end_turn()
    assert bench.storage.take_alarm_change() == (True, None)


async def test_before_the_compatibility_flag_delete_all_keeps_the_alarm(
    bench: StorageBench,
) -> None:
    bench.storage.delete_all_deletes_alarm = False
    due = bench.now_ms + 50
    await bench.storage.setAlarm(due)
    await bench.storage.put("k", 1)
    await bench.storage.deleteAll()
    bench.end_turn()
    assert await bench.storage.get("k") is None
    assert await bench.storage.getAlarm() == due


async def test_delete_all_in_the_handler_does_not_save_the_current_alarm(
    bench: StorageBench,
) -> None:
    bench.storage.delete_all_deletes_alarm = False
    await set_due(bench)
    await bench.storage.deleteAll()
    bench.storage.finish_alarm_run(success=True)
    bench.end_turn()
    assert await bench.storage.getAlarm() is None


def test_an_alarm_for_the_same_ms_as_the_one_that_has_just_run_is_a_new_one(bench) -> None:
    due_ms = bench.now_ms + 1000
    bench.storage.setAlarm(due_ms)
    bench.end_turn()
    assert bench.storage.take_alarm_change() == (True, due_ms)
    bench.storage.begin_alarm_run()
    bench.storage.finish_alarm_run(success=True)
    # In the same commit: the file is as it was, and the runtime must not take the alarm for run.
    bench.storage.setAlarm(due_ms)
    bench.end_turn()
    assert bench.storage.take_alarm_change() == (True, due_ms)
