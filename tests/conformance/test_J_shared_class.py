"""Section 12.J, row J5: two workers bound to one class."""

from __future__ import annotations

import msgspec

from dohost.config import DurableObjectBinding


async def test_J5_another_worker_shares_the_objects_of_a_class(bench) -> None:
    counter = """
        class Counter(DurableObject):
            async def increment(self):
                n = (await self.ctx.storage.get("n") or 0) + 1
                await self.ctx.storage.put("n", n)
                return n
        """
    other = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response(str(await self.env.THEIRS.getByName("a").increment()))
        """,
        name="other",
    )
    other = msgspec.structs.replace(
        other,
        durable_objects=(
            DurableObjectBinding(name="THEIRS", class_name="Counter", script_name="app"),
        ),
    )
    await bench.run(other, bench.config(counter))
    assert await bench.stub().increment() == 1
    assert await (await bench.get()).text() == "2"
    directories = {path.name for path in (bench.root / "data/v3/do").iterdir()}
    assert directories == {"app-Counter"}
