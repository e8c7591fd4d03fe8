"""What each side does with a list of operations; worker.js says the same in JavaScript."""

from __future__ import annotations

import inspect

from workers import DurableObject, Response, WorkerEntrypoint


def failed(error):
    return {"error": str(error)}


class Actor(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.count = 0
        self.stubs = {}

    async def act(self, operations):
        answers = []
        for name, *args in operations:
            try:
                answer = getattr(self, f"_do_{name}")(*args)
                answers.append(await answer if inspect.isawaitable(answer) else answer)
            except Exception as error:
                answers.append(failed(error))
        return answers

    def _child(self, name):
        return self.ctx.facets.get(name, lambda: {"class": self.ctx.exports.Actor})

    async def _do_increment(self):
        value = (await self.ctx.storage.get("value") or 0) + 1
        await self.ctx.storage.put("value", value)
        return value

    def _do_value(self):
        return self.ctx.storage.get("value")

    def _do_seen(self):
        self.count += 1
        return self.count

    def _do_end(self, reason):
        self.ctx.abort(reason)

    def _do_forget(self):
        return self.ctx.storage.deleteAll()

    def _do_alarm(self):
        return self.ctx.storage.getAlarm()

    def _do_in(self, name, operations):
        return self._child(name).act(operations)

    def _do_stub(self, variable, name):
        self.stubs[variable] = self._child(name)

    def _do_use(self, variable, operations):
        stub = self.stubs.get(variable)
        return None if stub is None else stub.act(operations)

    def _do_abort(self, name, reason):
        self.ctx.facets.abort(name, Exception(reason))

    def _do_delete(self, name):
        self.ctx.facets.delete(name)

    def _do_clone(self, source, target):
        self.ctx.facets.clone(source, target)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        answers = []
        for scenario in await request.json():
            found = []
            for operations in scenario["events"]:
                try:
                    found.append(await self.env.ACTOR.getByName(scenario["name"]).act(operations))
                except Exception as error:
                    found.append(failed(error))
            answers.append(found)
        return Response.json(answers)
