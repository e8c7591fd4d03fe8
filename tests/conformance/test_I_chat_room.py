"""The chat room of `programs/`, with real clients, over hibernation."""

from __future__ import annotations

import json
from pathlib import Path

from wire_bench import WireBench, until

from dohost.config import DurableObjectBinding, WorkerConfig

PROGRAM = Path(__file__).parent / "programs" / "chat_room.py"


def chat_room() -> WorkerConfig:
    return WorkerConfig(
        name="chat",
        main=PROGRAM,
        config_path=PROGRAM.with_name("wrangler.toml"),
        durable_objects=(DurableObjectBinding(name="ROOM", class_name="ChatRoom"),),
        classes={"ChatRoom": "sqlite"},
    )


async def hear(client) -> dict[str, str]:
    return json.loads(await client.receive_str(timeout=10))


async def test_the_chat_room_talks_sleeps_and_remembers(wire: WireBench) -> None:
    await wire.serve_worker(chat_room())
    rooms = wire.host.classes["chat-ChatRoom"]
    assert (await wire.fetch_text("/tea"))[0] == 426
    ada, bob = await wire.connect("/tea?name=ada"), await wire.connect("/tea?name=bob")
    assert await hear(ada) == {"joined": "bob"}
    await ada.send_str("hello")
    for client in (ada, bob):
        assert await hear(client) == {"from": "ada", "says": "hello"}

    wire.pass_time(10)
    assert rooms.actors == {}
    await ada.send_str("ping")
    assert await ada.receive_str() == "pong"
    assert rooms.actors == {}
    await bob.send_str("/to ada are you there?")
    assert await hear(ada) == {"from": "bob", "whispers": "are you there?"}

    wire.pass_time(10)
    carl = await wire.connect("/tea?name=carl")
    assert await hear(carl) == {"from": "ada", "says": "hello"}
    for client in (ada, bob):
        assert await hear(client) == {"joined": "carl"}
    wire.pass_time(10)
    await bob.close(code=1000, message=b"good night")
    for client in (ada, carl):
        assert await hear(client) == {"left": "bob"}
    other = await wire.connect("/coffee?name=dora")
    await other.send_str("alone here")
    assert await hear(other) == {"from": "dora", "says": "alone here"}
    for client in (ada, carl, other):
        await client.close()
    await until(lambda: all(not actor.turns for actor in rooms.actors.values()))
    wire.pass_time(10)
    assert (rooms.actors, rooms.hibernations) == ({}, {})
