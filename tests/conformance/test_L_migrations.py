"""Which classes a configuration has, and how they store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.config import Loaded, load
from dohost.errors import ConfigError, JsException

STORE = """
class {name}(DurableObject):
    async def sql(self):
        return self.ctx.storage.sql.exec("SELECT 1 AS one").one()
"""


def read(directory: Path, **keys: object) -> Loaded:
    (directory / "entry.py").write_text("")
    base = {"name": "app", "main": "entry.py", "compatibility_flags": ["python_workers"]}
    (directory / "wrangler.json").write_text(json.dumps(base | keys))
    return load(None, cwd=directory, env=None, overrides=None, process_env={})


async def test_L6_migrations_decide_the_storage_of_each_class(tmp_path: Path, bench: Bench) -> None:
    steps: list[dict[str, object]] = [
        {"tag": "v1", "new_sqlite_classes": ["A"]},
        {"tag": "v2", "renamed_classes": [{"from": "A", "to": "B"}], "new_classes": ["C"]},
    ]
    (worker,) = read(tmp_path, migrations=steps).workers
    assert worker.classes == {"B": "sqlite", "C": "kv"}
    code = STORE.format(name="B") + STORE.format(name="C")
    config = bench.config(code)
    await bench.run(type(config)(**_fields(config) | {"classes": worker.classes}))
    assert (await bench.stub(class_name="B").sql())["one"] == 1
    with pytest.raises(JsException, match="SQL is not enabled for this Durable Object class"):
        await bench.stub(class_name="C").sql()
    with pytest.raises(
        ConfigError, match="Cannot apply deleted_classes migration to non-existent class X"
    ):
        read(tmp_path, migrations=[*steps, {"tag": "v3", "deleted_classes": ["X"]}])


async def test_L8_migrations_and_exports_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`migrations` and `exports` are mutually exclusive"):
        read(
            tmp_path,
            migrations=[{"tag": "v1", "new_sqlite_classes": ["A"]}],
            exports={"A": {"type": "durable-object", "storage": "sqlite"}},
        )


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).__struct_fields__}
