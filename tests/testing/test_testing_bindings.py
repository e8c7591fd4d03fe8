"""Time and bindings in tests: what `advance` and `settle` wait for is also what threads do for them."""

from __future__ import annotations

import pytest

from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(config="programs/post.toml")


async def delivered(dohost: IsolatedHost) -> list[str]:
    return [each.name for each in (await dohost.env.KV.list())["keys"]]


async def test_a_batch_is_delivered_at_its_time_and_not_before(dohost: IsolatedHost) -> None:
    await dohost.env.QUEUE.send("x")
    await dohost.advance(4.9)
    assert await delivered(dohost) == []
    await dohost.advance(0.1)
    assert await delivered(dohost) == ["letters, attempt 1"]


async def test_retries_and_the_dead_letter_queue_follow_the_clock(dohost: IsolatedHost) -> None:
    await dohost.env.QUEUE.send("x")
    await dohost.advance(5)
    await dohost.advance(64.9)
    assert await delivered(dohost) == ["letters, attempt 1"]
    await dohost.advance(0.1)
    assert await delivered(dohost) == [
        "letters, attempt 1",
        "letters, attempt 2",
        "returned, attempt 1",
    ]


async def test_one_step_goes_from_an_alarm_to_the_consumer_of_what_it_sent(
    dohost: IsolatedHost,
) -> None:
    await dohost.env.SENDER.getByName("a").send_in(10)
    await dohost.advance(15)
    assert await dohost.env.KV.get("letters, attempt 1") == "from the alarm"


async def test_what_was_begun_is_done_when_everything_has_settled(dohost: IsolatedHost) -> None:
    await dohost.env.SENDER.getByName("a").write_behind()
    await dohost.settle()
    files = [path.name for path in dohost.directory.rglob("blobs/*")]
    assert len(files) == 1
    # These would wait behind what was begun; the file of a blob is there or is not.
    assert await dohost.env.KV.get("kv") == "written"
    assert await (await dohost.env.R2.get("r2")).text() == "written"
    assert (await dohost.env.DB.prepare("SELECT * FROM written").run()).results == []
