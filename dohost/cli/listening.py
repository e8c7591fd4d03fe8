"""Where a server listens: what the flags say, then `[dev]`, then the defaults."""

from __future__ import annotations

import ssl

import msgspec

from dohost.cli.server_options import Serving
from dohost.config import Loaded
from dohost.errors import CallerError


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen. `is_exact`: no other port will do."""

    ip: str
    port: int
    is_exact: bool
    tls: ssl.SSLContext | None = None


def listening_of(loaded: Loaded, serving: Serving) -> Listening:
    """Return where to listen: flags over [dev] over defaults. Raises: CallerError without a certificate."""
    dev = loaded.workers[0].dev
    is_https = (serving.protocol or dev.local_protocol) == "https" or serving.tls is not None
    if is_https and serving.tls is None:
        raise CallerError(
            "https needs a certificate: --https-cert-path FILE --https-key-path FILE."
        )
    ip = serving.ip or dev.ip
    return Listening(
        ip="127.0.0.1" if ip == "localhost" else ip,
        port=dev.port if serving.port is None else serving.port,
        is_exact=serving.port is not None or dev.is_port_set,
        tls=serving.tls,
    )
