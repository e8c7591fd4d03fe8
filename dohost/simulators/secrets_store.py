"""A secret of Cloudflare's Secrets Store as Worker code holds it: `await env.API_KEY.get()`.

Its local value comes from the secrets files, under the name of the binding or of the secret.
"""

from __future__ import annotations

from collections.abc import Awaitable

from dohost.errors import JsException
from dohost.simulators.outlet import Outlet


class SecretsStoreSecret:
    """One secret; its value is in no representation of it."""

    def __init__(self, secret_name: str, value: str | None, *, outlet: Outlet) -> None:
        self._secret_name = secret_name
        self._value = value
        self._outlet = outlet

    def get(self) -> Awaitable[str]:
        """Give the value. Raises: JsException if there is none."""

        async def get() -> str:
            if self._value is None:
                raise JsException(f'Secret "{self._secret_name}" not found')
            return self._value

        return self._outlet.write(get)

    def __repr__(self) -> str:
        return f"<SecretsStoreSecret {self._secret_name}>"
