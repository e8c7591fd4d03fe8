"""The alarm of one object, as a row of its own file.

The alarm is data like any other: it is written in the open transaction and rolled back with it. What
is not data is held here: whether the alarm's handler is running (then the alarm is invisible until it is
set anew, and it is deleted when the handler succeeds), and which alarm the runtime was last told about.

`take_change` compares the committed row with what it last reported, so that nothing has to be undone
when a transaction is rolled back. `snapshot` and `restore` do that for the one fact that is not in the
file: that a running handler has set a new alarm. Times are ms outside and ns in the file, as workerd's.
"""

from __future__ import annotations

from typing import Literal

from dohost.storage.database import Database
from dohost.storage.schema import ALARM

_SELECT = "SELECT value FROM _cf_METADATA WHERE key = ?"
_UPSERT = (
    "INSERT INTO _cf_METADATA (key, value) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)

Run = Literal["idle", "running", "rearmed"]


class Metadata:
    """Reads and writes the host's facts about one object; every write needs an open transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run: Run = "idle"
        self._reported_ms: int | None = None
        self._must_report = False
        # A handler has ended since the last report: what is set now is not what it ran for.
        self._has_run = False
        self.alarm_changed = False
        self._reported_ms = self.due_ms()

    def due_ms(self) -> int | None:
        """Return the time in the file, also while its handler runs."""
        due_ns = self._read(ALARM)
        return None if due_ns is None else due_ns // 1_000_000

    def read_alarm_ms(self) -> int | None:
        """Return the alarm as user code sees it: not the one whose handler is running."""
        return None if self._run == "running" else self.due_ms()

    def write_alarm_ms(self, due_ms: int | None) -> None:
        """Set or delete the alarm; a handler that is running does not undo it when it succeeds."""
        if self._run != "idle" or self._has_run:
            # The same millisecond again is a new alarm, and the runtime has to hear of it.
            self._must_report = self._must_report or due_ms is not None
        if self._run != "idle":
            self._run = "running" if due_ms is None else "rearmed"
        self._write(ALARM, None if due_ms is None else due_ms * 1_000_000)
        self.alarm_changed = True

    def keep_alarm_ms(self, due_ms: int | None) -> None:
        """Write back the alarm that a discarded transaction had set; not a new alarm."""
        if due_ms != self.due_ms():
            self._write(ALARM, None if due_ms is None else due_ms * 1_000_000)
            self.alarm_changed = True

    def begin_run(self) -> None:
        """The alarm's handler starts."""
        assert self._run == "idle", "an object runs one alarm at a time"
        self._run = "running"

    @property
    def is_run_done_by_deleting(self) -> bool:
        """Whether the success of the running handler has to delete the alarm."""
        return self._run == "running" and self.due_ms() is not None

    def end_run(self) -> None:
        """The alarm's handler has ended; what is in the file is what counts."""
        self._run = "idle"
        self._has_run = True

    def take_change(self) -> tuple[bool, int | None]:
        """Return whether the alarm differs from the last answer, and when it is due now."""
        if not self.alarm_changed:
            return False, self._reported_ms
        due_ms = self.due_ms()
        is_changed = self._must_report or due_ms != self._reported_ms
        self.alarm_changed = self._must_report = self._has_run = False
        self._reported_ms = due_ms
        return is_changed, due_ms

    def snapshot(self) -> Run:
        """Return what `restore` needs when a savepoint that begins now is rolled back."""
        return self._run

    def restore(self, snapshot: Run) -> None:
        """Undo what happened to the run's state since `snapshot`, unless the handler has ended."""
        if self._run != "idle":
            self._run = snapshot

    def _read(self, key: int) -> int | None:
        if not self._database.has_metadata:
            return None
        value = self._database.value(_SELECT, (key,))
        return value if isinstance(value, int) else None

    def _write(self, key: int, value: int | None) -> None:
        self._database.run(_UPSERT, (key, value))
