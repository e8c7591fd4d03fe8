"""Objects of this project, through the server that runs on its data or from the files.

A data directory has one owner. While a server holds it, questions go to that server, with the token
that its lock file holds. Otherwise files are read here; what needs more than reading is asked of a host in
this process, which holds the directory meanwhile and answers as the server would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from dohost.cli.project import Project
from dohost.errors import CallerError, HostError
from dohost.runtime.inspection import Inspector, ObjectDetails, ObjectInfo
from dohost.runtime.lock import LockInfo, holder
from dohost.storage.inspection import Table

TIMEOUT_S = 600.0
Answer = TypeVar("Answer")


class Objects(Protocol):
    """What commands ask about objects."""

    def objects(self, class_name: str | None = None) -> list[ObjectInfo]:
        """Return every object that has a file."""
        ...

    def path(self, class_name: str, name_or_id: str) -> Path:
        """Return the object's file."""
        ...

    def show(self, class_name: str, name_or_id: str) -> ObjectDetails:
        """Return all that is known of one object."""
        ...

    def sql(self, class_name: str, name_or_id: str, sql: str) -> Table:
        """Run a read-only statement."""
        ...


def open_objects(project: Project) -> Objects:
    """Return the way to this project's objects: the running server, or the files."""
    loaded = project.read()
    persist = project.persist(loaded)
    holding = holder(persist)
    if holding is not None and holding.url and holding.token:
        return RemoteObjects(holding)
    return Inspector(persist, loaded.workers)


class Asked(Protocol):
    """The process that holds the data directory."""

    def ask(self, name: str, arguments: Mapping[str, object], answer: type[Answer]) -> Answer:
        """Call its local API. Raises: CallerError, HostError."""
        ...


@contextlib.contextmanager
def asking(project: Project, *, with_code: bool = False) -> Iterator[Asked]:
    """Reach the process that holds this project's data, or be it; `with_code`: objects can run.

    Raises: DataDirLocked, ConfigError, LoadFailed.
    """
    loaded = project.read()
    persist = project.persist(loaded)
    holding = holder(persist)
    if holding is not None and holding.url and holding.token:
        yield RemoteObjects(holding)
        return
    # Here, because most questions need no host.
    from dohost.cli.own_host import own_host

    with own_host(persist, loaded.workers, with_code=with_code) as asked:
        yield asked


class RemoteObjects:
    """Asks the server that holds the data directory."""

    def __init__(self, holding: LockInfo) -> None:
        self._holding = holding

    def objects(self, class_name: str | None = None) -> list[ObjectInfo]:
        """Return every object that has a file."""
        return self.ask("objects", {"class_name": class_name}, list[ObjectInfo])

    def path(self, class_name: str, name_or_id: str) -> Path:
        """Return the object's file."""
        return Path(self.ask("path", {"class_name": class_name, "name": name_or_id}, str))

    def sql(self, class_name: str, name_or_id: str, sql: str) -> Table:
        """Run a read-only statement."""
        arguments = {"class_name": class_name, "name": name_or_id, "sql": sql}
        return self.ask("sql", arguments, Table)

    def show(self, class_name: str, name_or_id: str) -> ObjectDetails:
        """Return all that is known of one object."""
        return self.ask("show", {"class_name": class_name, "name": name_or_id}, ObjectDetails)

    def ask(self, name: str, arguments: Mapping[str, object], answer: type[Answer]) -> Answer:
        """Call the server's local API. Raises: CallerError, HostError."""
        import urllib.error  # lazy: only with a server that runs
        import urllib.request  # lazy

        request = urllib.request.Request(
            f"{self._holding.url}/cdn-cgi/local/api/{name}",
            data=msgspec.json.encode(arguments),
            headers={
                "Content-Type": "application/json",
                "X-Dohost-Token": self._holding.token,
            },
            method="POST",
        )
        # No proxy: the address is this machine's, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_S) as response:
                return msgspec.json.decode(response.read(), type=answer)
        except urllib.error.HTTPError as error:
            raise CallerError(
                _reason(error.read()) or f"the server answered {error.code}"
            ) from error
        except OSError as error:
            raise HostError(
                f"The server at {self._holding.url} (process {self._holding.pid}) holds the data "
                f"directory and doesn't answer: {error}"
            ) from error


def _reason(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=dict[str, str]).get("error")
    except msgspec.DecodeError:
        return None
