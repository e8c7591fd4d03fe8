"""Loading and reloading code: the last good code serves, and each generation has modules of its own."""

from __future__ import annotations

import asyncio
import sys

import pytest
from programs import VERSION

from dohost.config import DurableObjectBinding, ServiceBinding
from dohost.errors import JsException, ShuttingDown, UserCodeError
from dohost.runtime.host import LoadFailed
from dohost.runtime.lock import LockInfo


async def test_new_code_serves_after_a_reload_and_data_stays(bench) -> None:
    await bench.run(VERSION.format(version=1))
    stub = bench.stub()
    await stub.increment()
    assert await stub.version() == 1
    await bench.run(VERSION.format(version=2))
    assert await stub.version() == 2
    assert await stub.increment() == 2


async def test_without_code_requests_get_the_reason(bench) -> None:
    await bench.host.start(LockInfo(pid=1))
    with pytest.raises(ShuttingDown):
        await bench.get()
    with pytest.raises(LoadFailed, match="invalid syntax"):
        await bench.host.load((bench.config("def broken(:"),))
    with pytest.raises(LoadFailed, match="invalid syntax"):
        await bench.get()


async def test_broken_code_keeps_the_last_good_code(bench) -> None:
    await bench.run(VERSION.format(version=1))
    with pytest.raises(LoadFailed, match="invalid syntax"):
        await bench.run("class Counter(DurableObject:")
    assert await bench.stub().version() == 1
    await bench.run(VERSION.format(version=3))
    assert await bench.stub().version() == 3


async def test_settings_that_the_program_refuses_keep_the_last_good_code(bench) -> None:
    await bench.run(VERSION.format(version=1))
    with pytest.raises(LoadFailed, match="the tiers are wrong"):
        await bench.run(
            VERSION.format(version=2) + "\ndef check(env): return ['the tiers are wrong']"
        )
    assert await bench.stub().version() == 1


async def test_a_bound_class_that_is_not_exported_is_named(bench) -> None:
    config = bench.config("")
    import msgspec

    config = msgspec.structs.replace(
        config, durable_objects=(DurableObjectBinding(name="X", class_name="Missing"),)
    )
    with pytest.raises(LoadFailed, match="which are not exported in your entrypoint file: Missing"):
        await bench.run(config)


async def test_a_request_in_flight_finishes_with_its_own_modules_across_a_reload(bench) -> None:
    users = bench.root / "app" / "users.py"
    config = bench.config(VERSION.format(version=1))
    users.write_text("NAME = 'old'")
    await bench.run(config)
    stub = bench.stub()
    in_flight = asyncio.ensure_future(stub.slow_version(1))
    await asyncio.sleep(0)
    users.write_text("NAME = 'new'")
    await bench.run(bench.config(VERSION.format(version=2)))
    after = asyncio.ensure_future(stub.slow_version(1))
    assert await in_flight == "old"
    assert await after == "new"


async def test_two_workers_with_modules_of_the_same_names_run_together(bench) -> None:
    code = """
    import users
    class Who(DurableObject):
        async def who(self):
            import users
            return users.NAME
    """
    configs = []
    for name in ("one", "two"):
        config = bench.config(code, name=name)
        (bench.root / name / "users.py").write_text(f"NAME = {name!r}")
        configs.append(config)
    before = set(sys.modules)
    await bench.run(*configs)
    for name in ("one", "two"):
        assert await bench.namespace("Who", worker=name).getByName("a").who() == name
    assert "users" not in set(sys.modules) - before


async def test_a_service_binding_reaches_another_worker(bench) -> None:
    import msgspec

    caller = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                response = await self.env.OTHER.fetch(request)
                total = await self.env.OTHER.add(1, 2)
                return Response(f"{await response.text()} {total} {self.env.GREETING}")
        """,
        vars={"GREETING": "hello"},
        services=(ServiceBinding(binding="OTHER", service="other"),),
    )
    other = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response("from the other")
            async def add(self, a, b):
                return a + b
        """,
        name="other",
    )
    await bench.run(caller, other)
    assert await (await bench.get()).text() == "from the other 3 hello"
    await bench.run(msgspec.structs.replace(caller))
    with pytest.raises(JsException, match='Worker "other" not found'):
        await bench.get()


async def test_two_workers_of_the_same_modules_reload_with_requests_in_flight(bench) -> None:
    code = """
    import users
    class Who(DurableObject):
        async def who(self):
            import asyncio, users
            await asyncio.sleep(0.01)
            import users as late
            return late.NAME
    """

    def configs(generation: str) -> list[object]:
        made = []
        for name in ("one", "two"):
            made.append(bench.config(code, name=name))
            (bench.root / name / "users.py").write_text(f"NAME = '{name} {generation}'")
        return made

    await bench.run(*configs("old"))
    stubs = [bench.namespace("Who", worker=name).getByName("a") for name in ("one", "two")]
    in_flight = [asyncio.ensure_future(stub.who()) for stub in stubs]
    await asyncio.sleep(0)
    await bench.run(*configs("new"))
    after = [asyncio.ensure_future(stub.who()) for stub in stubs]
    assert [await call for call in in_flight] == ["one old", "two old"]
    assert [await call for call in after] == ["one new", "two new"]


async def test_leaving_python_while_loading_is_a_failed_load(bench) -> None:
    await bench.run(VERSION.format(version=1))
    with pytest.raises(LoadFailed):
        await bench.run("import sys\nsys.exit(3)")
    assert await bench.stub().version() == 1


async def test_leaving_python_in_a_handler_ends_that_event_alone(bench) -> None:
    await bench.run(
        """
        import sys
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                raise SystemExit(4)

        class Quitter(DurableObject):
            async def quit(self):
                sys.exit(3)

            async def ping(self):
                return "pong"
        """
    )
    with pytest.raises(UserCodeError, match=r"sys\.exit"):
        await bench.get()
    stub = bench.stub(class_name="Quitter")
    with pytest.raises(JsException, match="SystemExit: 3"):
        await stub.quit()
    assert await stub.ping() == "pong"


async def test_a_bound_class_that_is_hidden_by_all_is_named_with_the_remedy(bench) -> None:
    config = bench.config(
        """
        __all__ = ["Default"]
        class Hidden(DurableObject):
            pass
        """
    )
    with pytest.raises(LoadFailed, match="Add 'Hidden' to its __all__"):
        await bench.run(config)
