"""Secrets of a store, Hyperdrive, Analytics Engine and version metadata, and where their values come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.config import HyperdriveBinding, Loaded, SecretsStoreBinding, WorkerConfig, load
from dohost.errors import ConfigError, JsException
from dohost.simulators.analytics_engine import AnalyticsEngineDataset
from dohost.simulators.hyperdrive import Hyperdrive
from dohost.simulators.resources import Resources

URL = "postgres://us%20er:pa%40ss@db.example.com/my%20db"
SECRET = {"binding": "TOKEN", "store_id": "s", "secret_name": "token"}


def loaded(directory: Path, env: dict[str, str] | None = None, **fields: object) -> Loaded:
    (directory / "entry.py").touch()
    config = {"name": "app", "main": "entry.py", "compatibility_flags": ["python_workers"]}
    path = directory / "wrangler.json"
    path.write_text(json.dumps(config | {"compatibility_date": "2026-08-01"} | fields))
    return load([path], cwd=directory, process_env=env or {})


def worker(directory: Path, env: dict[str, str] | None = None, **fields: object) -> WorkerConfig:
    return loaded(directory, env, **fields).workers[0]


@pytest.mark.parametrize(("name", "other"), [("TOKEN", ""), ("token", ""), ("TOKEN", "token=no")])
def test_the_value_of_a_secret_comes_from_a_secrets_file(
    tmp_path: Path, name: str, other: str
) -> None:
    (tmp_path / ".dev.vars").write_text(f"{name}=sekrit\n{other}\n")
    found = worker(tmp_path, secrets_store_secrets=[SECRET])
    assert found.secrets_store_secrets[0].value == "sekrit"
    assert "TOKEN" not in found.vars
    assert "sekrit" in found.hidden_values()


def test_a_secret_without_a_value_is_a_warning(tmp_path: Path) -> None:
    found = loaded(tmp_path, secrets_store_secrets=[SECRET])
    assert any('the secret "token" has no local value' in line for line in found.warnings)


async def test_a_secret_is_read_and_never_shown(resources: Resources) -> None:
    secret = resources.secret("token", "sekrit")
    assert await secret.get() == "sekrit"
    assert "sekrit" not in repr(secret)
    with pytest.raises(JsException, match='Secret "token" not found'):
        await resources.secret("token", None).get()


async def test_a_secret_is_a_binding_of_its_worker(bench: Bench) -> None:
    code = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(await self.env.TOKEN.get())
"""
    stored = SecretsStoreBinding(binding="TOKEN", secret_name="token", value="sekrit")
    await bench.run(bench.config(code, secrets_store_secrets=(stored,)))
    assert await (await bench.get()).text() == "sekrit"


def test_a_connection_string_gives_its_parts() -> None:
    database = Hyperdrive("DB", URL, port=5432)
    assert database.connectionString == URL
    assert (database.host, database.port) == ("db.example.com", 5432)
    assert (database.user, database.password, database.database) == ("us er", "pa@ss", "my db")
    assert Hyperdrive("DB", "mysql://u:p@h:1/d", port=3306).port == 1
    assert "pa" not in repr(database)
    with pytest.raises(JsException, match="give connectionString to a driver"):
        database.connect()


@pytest.mark.parametrize("part", ["connectionString", "host", "port", "user", "database"])
def test_without_a_local_database_every_use_says_so(part: str) -> None:
    with pytest.raises(JsException, match=r"env\.DB: there is no local database"):
        getattr(Hyperdrive("DB", None, port=None), part)


def test_the_environment_beats_the_configured_string(tmp_path: Path) -> None:
    hyperdrive = [{"binding": "DB", "id": "x", "localConnectionString": "mysql://a:b@c/d"}]
    (own,) = worker(tmp_path, hyperdrive=hyperdrive).hyperdrive
    assert (own.connection_string, own.port) == ("mysql://a:b@c/d", 3306)
    for prefix in ("CLOUDFLARE", "WRANGLER"):
        env = {f"{prefix}_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB": URL}
        found = worker(tmp_path, env, hyperdrive=hyperdrive)
        assert found.hyperdrive == (
            HyperdriveBinding(binding="DB", id="x", connection_string=URL, port=5432),
        )
        assert {URL, "pa%40ss", "pa@ss"} <= set(found.hidden_values())


def test_a_database_without_a_string_is_a_warning(tmp_path: Path) -> None:
    found = loaded(tmp_path, hyperdrive=[{"binding": "DB", "id": "x"}])
    assert any(
        "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB" in each for each in found.warnings
    )
    assert found.workers[0].hyperdrive[0].connection_string is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sqlite://a:sekrit@c/d", "must begin with postgres"),
        ("postgres://a:sekrit@/d", "names no host"),
        ("postgres://a:sekrit@c", "names no database"),
        ("postgres://:sekrit@c/d", "names no user"),
        ("postgres://sekrit@c/d", "names no password"),
        ("postgres://a:sekrit@c:x/d", "is no URL"),
    ],
)
def test_a_wrong_connection_string_is_a_problem_that_shows_none_of_it(
    tmp_path: Path, text: str, why: str
) -> None:
    hyperdrive = [{"binding": "DB", "id": "x", "localConnectionString": text}]
    with pytest.raises(ConfigError) as raised:
        worker(tmp_path, hyperdrive=hyperdrive)
    assert f'The connection string of "DB" {why}' in str(raised.value)
    assert "sekrit" not in str(raised.value)


def test_data_points_go_nowhere() -> None:
    dataset = AnalyticsEngineDataset("d")
    assert dataset.writeDataPoint({"blobs": ["a"]}) is None
    assert dataset.writeDataPoint(blobs=["a"]) is None


def test_each_load_is_a_version_of_its_own(resources: Resources) -> None:
    first, second = resources.version_metadata(), resources.version_metadata()
    assert len(str(first.id)) == 36
    assert first.id != second.id
    assert first.tag == ""
    assert str(first.timestamp).endswith("Z")
