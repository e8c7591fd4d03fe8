"""Section 12.L, row L12: a binding to a worker that is not in this process."""

from __future__ import annotations

from dohost.config import ServiceBinding


async def test_L12_an_absent_worker_answers_503_and_refuses_calls(bench) -> None:
    config = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                answer = await self.env.GONE.fetch(request)
                try:
                    call = self.env.GONE.method()
                    await call
                except Exception as error:
                    return Response.json([answer.status, await answer.text(), str(error)])
        """,
        services=(ServiceBinding(binding="GONE", service="x"),),
    )
    await bench.run(config)
    text = 'Worker "x" not found. Make sure it is running locally.'
    assert await (await bench.get()).json() == [503, text, f"Error: {text}"]
