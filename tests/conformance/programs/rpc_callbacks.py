"""Objects that call one another back: a ledger, and desks that read and spend from it.

A function that is passed to another object stays where it is. The ledger calls it, and it runs in the desk
that passed it, with that desk's storage; the ledger never needs to know who asks.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from workers import DurableObject, Response, WorkerEntrypoint


class Ledger(DurableObject):
    """The entries of some accounts."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.sql = ctx.storage.sql
        self.sql.exec(
            "CREATE TABLE IF NOT EXISTS entries ("
            "id INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL)"
        )

    def record(self, account, cents):
        """Add an entry and return the new balance."""
        self.sql.exec("INSERT INTO entries (account, cents) VALUES (?, ?)", account, cents)
        return self.balance(account)

    def balance(self, account):
        row = self.sql.exec(
            "SELECT coalesce(sum(cents), 0) AS cents FROM entries WHERE account = ?", account
        ).one()
        return row.cents

    async def visit(self, account, callback):
        """Call back with each entry until the callback says stop; return how many were shown."""
        rows = self.sql.exec(
            "SELECT id, cents FROM entries WHERE account = ? ORDER BY id", account
        ).toArray()
        for shown, row in enumerate(rows, start=1):
            if await callback({"id": row.id, "cents": row.cents}) == "stop":
                return shown
        return len(rows)

    async def spend(self, account, cents, approve):
        """Take money if `approve` agrees; nothing else happens to this ledger in between."""

        async def decide():
            balance = self.balance(account)
            if not await approve(balance, cents):
                return {"approved": False, "balance": balance}
            return {"approved": True, "balance": self.record(account, -cents)}

        return await self.ctx.blockConcurrencyWhile(decide)

    def numbering(self, prefix):
        """Return a function that gives the next receipt number each time it is called."""
        number = 0

        def next_number():
            nonlocal number
            number += 1
            return f"{prefix}-{number:03d}"

        return next_number


class Desk(DurableObject):
    """Somebody who works with a ledger, and remembers what was seen and decided."""

    async def set_limit(self, cents):
        await self.ctx.storage.put("limit", cents)

    async def audit(self, account, at_most=100):
        """Look at the entries of an account and keep them here."""
        seen = []

        async def look(entry):
            seen.append(entry["cents"])
            await self.ctx.storage.put(f"seen:{entry['id']}", entry["cents"])
            return "stop" if len(seen) == at_most else "on"

        shown = await self.env.LEDGER.getByName("main").visit(account, look)
        return {"shown": shown, "total": sum(seen)}

    async def pay(self, account, cents):
        """Spend from an account within the limit of this desk."""

        async def approve(balance, wanted):
            limit = await self.ctx.storage.get("limit") or 0
            decisions = (await self.ctx.storage.get("decisions") or 0) + 1
            await self.ctx.storage.put("decisions", decisions)
            return wanted <= min(balance, limit)

        return await self.env.LEDGER.getByName("main").spend(account, cents, approve)

    async def receipts(self, count):
        """Fetch numbers through a function that lives in the ledger."""
        next_number = await self.env.LEDGER.getByName("main").numbering(self.ctx.id.name)
        return [await next_number() for _ in range(count)]

    async def notes(self):
        return dict(await self.ctx.storage.list())


class Default(WorkerEntrypoint):
    """`POST /record?account=…&cents=…`, `POST /pay?desk=…&account=…&cents=…`, `GET /audit?desk=…&account=…`."""

    async def fetch(self, request):
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        account = query.get("account", "")
        desk = self.env.DESK.getByName(query.get("desk", "front"))
        match (request.method, url.path):
            case ("POST", "/record"):
                ledger = self.env.LEDGER.getByName("main")
                answer = {"balance": await ledger.record(account, int(query["cents"]))}
            case ("POST", "/pay"):
                answer = await desk.pay(account, int(query["cents"]))
            case ("GET", "/audit"):
                answer = await desk.audit(account)
            case _:
                return Response("Not found", status=404)
        return Response.json(answer)
