"""Migrations change the data on disk: once, whole, with a backup, and whenever they are cut off again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from host_bench import Bench

from dohost.config import ClassRename, Migration, WorkerConfig
from dohost.errors import CallerError, DohostError, UserCodeError
from dohost.runtime import host as host_module
from dohost.runtime.host import LoadFailed
from dohost.runtime.layout import Layout, read_layout
from dohost.runtime.migrations import plan_migrations

BODY = """
class {name}(DurableObject):
    async def put(self, value):
        await self.ctx.storage.put("value", value)

    async def get(self):
        return await self.ctx.storage.get("value")

    async def wake(self, time):
        await self.ctx.storage.setAlarm(time)

    async def alarm(self):
        await self.ctx.storage.put("value", "woken")
"""
NEW = Migration(tag="v1", new_sqlite_classes=("Old",))
RENAME = Migration(tag="v2", renamed_classes=(ClassRename(from_class="Old", to_class="New"),))
DELETE = Migration(tag="v2", deleted_classes=("Old",))


def config(bench: Bench, *names: str, steps: tuple[Migration, ...], worker: str = "app"):
    code = "\n".join(BODY.format(name=name) for name in names)
    return bench.config(code, name=worker, migrations=steps)


def did(bench: Bench) -> list[str]:
    return [str(e.fields["did"]) for e in bench.events if e.name == "migration.applied"]


@pytest.mark.parametrize("is_reload", [True, False])
async def test_a_renamed_class_keeps_its_objects_by_name_by_id_and_their_alarms(
    bench: Bench, is_reload: bool
) -> None:
    await bench.run(config(bench, "Old", steps=(NEW,)))
    stub = bench.stub(class_name="Old")
    await stub.put(1)
    old_id = stub.id.toString()
    await bench.stub("b", class_name="Old").wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    renamed = config(bench, "New", steps=(NEW, RENAME))
    await (bench.run if is_reload else bench.restart)(renamed)
    namespace = bench.host.namespace(renamed.durable_objects[0], renamed)
    assert namespace is not None
    assert await namespace.getByName("a").get() == 1
    assert await namespace.get(namespace.idFromString(old_id)).get() == 1
    assert did(bench) == [
        "objects of Old are objects of New now, with their names and ids, in app-Old"
    ]
    bench.clock.advance(2)
    alarms = bench.host.parts.alarms
    alarms.poll()
    await alarms.stop()
    assert await namespace.getByName("b").get() == "woken"
    await bench.restart(renamed)
    assert len(did(bench)) == 1


async def test_a_new_class_of_the_old_name_begins_empty(bench: Bench) -> None:
    await bench.run(config(bench, "Old", steps=(NEW,)))
    await bench.stub(class_name="Old").put(1)
    again = Migration(tag="v3", new_sqlite_classes=("Old",))
    both = config(bench, "New", "Old", steps=(NEW, RENAME, again))
    await bench.restart(both)
    values = {}
    for binding in both.durable_objects:
        namespace = bench.host.namespace(binding, both)
        assert namespace is not None
        values[binding.class_name] = await namespace.getByName("a").get()
        await namespace.getByName("a").put(binding.class_name)
    assert values == {"New": 1, "Old": None}
    await bench.restart(both)
    for binding in both.durable_objects:
        namespace = bench.host.namespace(binding, both)
        assert namespace is not None
        assert await namespace.getByName("a").get() == binding.class_name


@pytest.mark.parametrize("is_reload", [True, False])
async def test_a_deleted_class_leaves_a_backup_and_no_alarm(bench: Bench, is_reload: bool) -> None:
    await bench.run(config(bench, "Old", "Other", steps=(NEW,)))
    stub = bench.stub(class_name="Old")
    await stub.put(1)
    await stub.wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    file = bench.host.classes["app-Old"].file_of(stub.id.toString())
    await (bench.run if is_reload else bench.restart)(config(bench, "Other", steps=(NEW, DELETE)))
    assert not file.parent.exists()
    backup = bench.root / "data/backups/v2-app-Old" / file.name
    assert backup.is_file()
    assert did(bench) == [f"the objects of Old were deleted; a backup is in {backup.parent}"]
    assert await bench.host.parts.catalog.alarms() == []
    assert await bench.host.parts.catalog.objects("app-Old") == []
    if is_reload:
        with pytest.raises(DohostError, match="was deleted"):
            await stub.get()
        assert not file.parent.exists()
    again = Migration(tag="v3", new_sqlite_classes=("Old",))
    await bench.restart(config(bench, "Other", "Old", steps=(NEW, DELETE, again)))
    await bench.stub(class_name="Old").put(2)
    await bench.restart(config(bench, "Other", "Old", steps=(NEW, DELETE, again)))
    assert await bench.stub(class_name="Old").get() == 2


async def test_a_transferred_class_belongs_to_the_other_worker(bench: Bench) -> None:
    await bench.run(config(bench, "Old", steps=(NEW,), worker="one"))
    await bench.namespace("Old", worker="one").getByName("a").put(1)
    transfer = Migration(
        tag="t1",
        transferred_classes=(ClassRename(from_class="Old", to_class="Mine", from_script="one"),),
    )
    second = config(bench, "Mine", steps=(transfer,), worker="two")
    await bench.restart(second)
    assert did(bench) == [
        "objects of one's Old are objects of Mine now, with their names and ids, in one-Old"
    ]
    namespace = bench.host.namespace(second.durable_objects[0], second)
    assert namespace is not None
    assert await namespace.getByName("a").get() == 1


async def test_code_that_cannot_load_migrates_nothing(bench: Bench) -> None:
    await bench.run(config(bench, "Old", steps=(NEW,)))
    await bench.stub(class_name="Old").put(1)
    broken = config(bench, "New", steps=(NEW, RENAME))
    broken.main.write_text("x = (")
    with pytest.raises(LoadFailed):
        await bench.run(broken)
    assert read_layout(bench.root / "data").applied == {"app": ("v1",)}
    assert await bench.stub(class_name="Old").get() == 1
    with pytest.raises(LoadFailed):
        await bench.run(
            msgspec.structs.replace(broken, migrations=(NEW, DELETE), durable_objects=())
        )
    assert await bench.stub(class_name="Old").get() == 1


@pytest.mark.parametrize("step", ["move_deleted", "after move_deleted", "write_layout"])
async def test_a_deletion_that_was_cut_off_is_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await bench.run(config(bench, "Old", "Other", steps=(NEW,)))
    await bench.stub(class_name="Old").put(1)
    await bench.host.drain(grace_s=1)
    name = step.removeprefix("after ")
    original = getattr(host_module, name)

    def crash(*arguments: object) -> None:
        if step.startswith("after"):
            original(*arguments)
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(host_module, name, crash)
        with pytest.raises(RuntimeError, match="ends here"):
            await bench.restart(config(bench, "Other", steps=(NEW, DELETE)))
    assert read_layout(bench.root / "data").applied == {"app": ("v1",)}
    await bench.restart(config(bench, "Other", steps=(NEW, DELETE)))
    assert read_layout(bench.root / "data").applied == {"app": ("v1", "v2")}
    assert [each.name for each in (bench.root / "data/backups").iterdir()] == ["v2-app-Old"]
    assert await bench.host.parts.catalog.objects("app-Old") == []


async def test_a_rename_onto_a_class_with_objects_is_refused(bench: Bench) -> None:
    first = Migration(tag="v1", new_sqlite_classes=("Old", "New"))
    await bench.run(config(bench, "Old", "New", steps=(first,)))
    await bench.stub(class_name="Old").put(1)
    await bench.stub(class_name="New").put(2)
    with pytest.raises(LoadFailed, match="New has objects of its own in app-New"):
        await bench.run(config(bench, "New", steps=(first, RENAME)))
    assert await bench.stub(class_name="New").get() == 2


async def test_a_newer_directory_is_refused_before_anything_is_touched(bench: Bench) -> None:
    data = bench.root / "data"
    data.mkdir()
    (data / "layout.json").write_text('{"format": 2}')
    with pytest.raises(CallerError, match="a newer dohost wrote"):
        await bench.run("")
    assert [each.name for each in data.iterdir()] == ["layout.json"]


def plan(layout: Layout, classes: tuple[str, ...], *steps: Migration, disk: tuple[str, ...]):
    worker = WorkerConfig(
        name="app",
        main=Path("entry.py"),
        config_path=Path("wrangler.toml"),
        classes=dict.fromkeys(classes, "sqlite"),
        migrations=steps,
    )
    return plan_migrations(layout, (worker,), lambda key: key in disk)


def test_a_directory_that_was_never_migrated_keeps_what_is_in_use() -> None:
    again = Migration(tag="v3", new_sqlite_classes=("Old",))
    both = plan(Layout(), ("Old", "New"), NEW, RENAME, again, disk=("app-Old", "app-New"))
    assert (both.steps, both.layout.namespaces) == ((), {})
    kept = plan(Layout(), ("Old",), NEW, DELETE, again, disk=("app-Old",))
    assert (kept.deletions, kept.layout.applied) == ((), {"app": ("v1", "v2", "v3")})
    clash = plan(Layout(), ("New",), NEW, RENAME, disk=("app-Old", "app-New"))
    assert [step.text for step in clash.steps] == [
        "objects of Old stay in app-Old and are not used: New has objects already"
    ]


def test_a_rename_without_objects_gives_wranglers_names() -> None:
    assert plan(Layout(), ("New",), NEW, RENAME, disk=()).layout.namespaces == {}


def test_steps_are_taken_in_order_over_what_they_leave() -> None:
    layout = Layout().with_applied("app", ("v1",))
    again = Migration(tag="v3", new_sqlite_classes=("Old",))
    back = Migration(tag="v4", renamed_classes=(ClassRename(from_class="Old", to_class="New"),))
    done = plan(layout, ("New",), NEW, DELETE, again, back, disk=("app-Old",))
    assert [each.unique_key for each in done.deletions] == ["app-Old"]
    assert done.layout.namespaces == {}
    chain = Migration(tag="v3", renamed_classes=(ClassRename(from_class="New", to_class="Newest"),))
    chained = plan(layout, ("Newest",), NEW, RENAME, chain, disk=("app-Old",))
    assert chained.layout.namespaces == {"app": {"Newest": "app-Old"}}


def test_a_step_without_a_tag_is_a_state_to_be_reached() -> None:
    layout = Layout().with_applied("app", ())
    rename = msgspec.structs.replace(RENAME, tag="")
    done = plan(layout, ("New",), rename, disk=("app-Old",))
    assert done.layout.namespaces == {"app": {"New": "app-Old"}}
    assert plan(done.layout, ("New",), rename, disk=("app-Old",)).layout == done.layout
    delete = msgspec.structs.replace(DELETE, tag="")
    assert plan(layout, (), delete, disk=("app-Old",)).deletions
    assert not plan(layout, (), delete, disk=()).deletions


def test_a_conflict_names_both_classes() -> None:
    layout = Layout().with_applied("app", ("v1",))
    with pytest.raises(UserCodeError, match='"v2" of app makes objects of Old objects of New'):
        plan(layout, ("New",), NEW, RENAME, disk=("app-Old", "app-New"))
