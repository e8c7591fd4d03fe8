"""A Hyperdrive configuration as Worker code holds it: where the database is, and how to log in.

There is no pool and no cache here: a driver that is given `connectionString` opens the local database
itself.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from dohost.errors import JsException


class Hyperdrive:
    """The parts of a connection string; any use raises if there is none."""

    def __init__(self, binding: str, connection_string: str | None, *, port: int | None) -> None:
        """`port`: the database's own, where the string has none."""
        self._binding = binding
        self._connection_string = connection_string
        self._port = port

    @property
    def connectionString(self) -> str:
        """What a driver is given."""
        if self._connection_string is None:
            raise JsException(
                f"env.{self._binding}: there is no local database. Set localConnectionString of the "
                "binding."
            )
        return self._connection_string

    @property
    def host(self) -> str:
        return urlsplit(self.connectionString).hostname or ""

    @property
    def port(self) -> int | None:
        return urlsplit(self.connectionString).port or self._port

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.connectionString).username or "")

    @property
    def password(self) -> str:
        return unquote(urlsplit(self.connectionString).password or "")

    @property
    def database(self) -> str:
        return unquote(urlsplit(self.connectionString).path.removeprefix("/"))

    def connect(self) -> object:
        """Raises: JsException: Workers' sockets don't exist here."""
        raise JsException(
            f"env.{self._binding}.connect() is not available: give connectionString to a driver."
        )

    def __repr__(self) -> str:
        # The string holds a password.
        return f"<Hyperdrive {self._binding}>"
