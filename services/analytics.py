"""Counts of events, by name; reports are reads, recording needs a credential."""

from __future__ import annotations

from typing import Annotated

import msgspec
from seed import create_once

from dohost.gateway import Service, expose

EventName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
COUNT = "INSERT INTO events VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1"
SUMMARY = "SELECT name, sum(count) AS count FROM events GROUP BY name ORDER BY name"
NS_PER_DAY = 86_400_000_000_000
SAMPLE = [(20_000, "order.placed", 3), (20_000, "page.viewed", 128), (20_001, "page.viewed", 64)]


class EventCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened."""

    name: str
    count: int


class AnalyticsServiceDO(Service):
    """Counts events per day."""

    def setup(self) -> None:
        create_once(
            self,
            "events",
            schema="CREATE TABLE events (day INTEGER, name TEXT, count INTEGER,"
            " PRIMARY KEY (day, name)) STRICT",
            rows=SAMPLE,
        )

    @expose("GET /summary", cache=10, tags=["analytics"])
    def summary(self) -> list[EventCount]:
        """Return the total of each event."""
        return [EventCount(**row) for row in self.ctx.storage.sql.exec(SUMMARY)]

    @expose("POST /events", invalidates=["analytics"], aggregate=True)
    def record(self, name: EventName) -> None:
        """Count one event today."""
        day = self.clock.realtime_ns() // NS_PER_DAY
        self.ctx.storage.sql.exec(COUNT, day, name)
