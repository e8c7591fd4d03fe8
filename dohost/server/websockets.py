"""WebSocket handshakes: from a request and a program's 101 Response to an upgraded connection.

The socket that a program returns is one end of a pair in memory; after the handshake a
`WebSocketConnection` carries frames between it and the client, and aiohttp is out of the game.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import sha1

from aiohttp import HttpVersion11
from aiohttp.http import RawRequestMessage
from workers.response import FetchResponse
from workers.socket_end import Frame
from workers.websocket import WebSocket

from dohost.server.answers import encode_head
from dohost.server.deflate import Agreement, agree
from dohost.server.exchange import ClientGone, Exchange
from dohost.server.problems import Problem
from dohost.server.websocket_connection import WebSocketConnection

VERSION = "13"
# RFC 6455 §1.3.
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_PROTOCOL_FIELD = "sec-websocket-protocol"
# Made here; never the program's to say.
_HANDSHAKE_FIELDS = frozenset(("sec-websocket-accept", "sec-websocket-extensions", "content-type"))


def upgrade(exchange: Exchange, response: FetchResponse) -> Problem | None:
    """Join the response's socket to the exchange's client; from then on the connection is theirs.

    Return the answer to a handshake that is none, else None. Raises: ClientGone.
    """
    socket = response.web_socket
    assert socket is not None, "the caller saw it"
    problem = _problem_of(exchange.message)
    if problem is not None:
        _refuse(socket)
        return problem
    connection = exchange.connection
    if connection.transport is None:
        _refuse(socket)
        raise ClientGone("the client left during the upgrade")
    items = tuple(response.raw_header_items())
    compression = (
        _compression(exchange, items) if connection.listener.compresses_sockets() else None
    )
    head = _encode_handshake(exchange, items, compression)
    client = WebSocketConnection(connection.listener, connection.client_ip, compression)
    end = socket.couple(client, client)
    transport, tail = connection.hand_over(client)
    exchange.has_answered = True
    exchange.status = 101
    transport.write(head)
    client.open(transport, end, tail)
    if connection.listener.is_draining:
        client.drain()
    return None


class _Refusal:
    """The sink of a socket that no client will have."""

    def receive(self, frame: Frame) -> None:
        """Drop it: nobody listens."""

    def gone(self) -> None:
        """Nobody is told."""

    abandoned = gone


def _refuse(socket: WebSocket) -> None:
    socket.couple(_Refusal()).disconnect()


def _problem_of(message: RawRequestMessage) -> Problem | None:
    """Return why a WebSocket can't be the answer to this request, or None (RFC 6455 §4.2.1)."""
    headers = message.headers
    if message.method != "GET" or not _names(headers.getall("Upgrade", ()), "websocket"):
        return Problem(
            status=500,
            detail="The program answered with a WebSocket, but the client did not ask for one.",
            code="websocket-not-asked-for",
        )
    if message.version is not HttpVersion11 or not _names(
        headers.getall("Connection", ()), "upgrade"
    ):
        return Problem(status=400, detail="The WebSocket handshake is malformed.")
    if headers.getall("Sec-WebSocket-Version", ()) != [VERSION]:
        return Problem(
            status=426,
            detail="Only version 13 of the WebSocket protocol is spoken here.",
            fields=(("Sec-WebSocket-Version", VERSION),),
        )
    keys = headers.getall("Sec-WebSocket-Key", ())
    if len(keys) != 1 or not _is_key(keys[0]):
        return Problem(status=400, detail="The WebSocket handshake is malformed.")
    return None


def _compression(exchange: Exchange, items: Iterable[tuple[str, str]]) -> Agreement | None:
    """Return what is agreed on; a program that names extensions itself must have named this one."""
    named = [value for name, value in items if name.lower() == "sec-websocket-extensions"]
    if named and agree(named) is None:
        return None
    return agree(exchange.message.headers.getall("Sec-WebSocket-Extensions", ()))


def _encode_handshake(
    exchange: Exchange, items: Iterable[tuple[str, str]], compression: Agreement | None
) -> bytes:
    headers = exchange.message.headers
    offered = [
        name.strip()
        for value in headers.getall("Sec-WebSocket-Protocol", ())
        for name in value.split(",")
    ]
    # A client must fail a handshake that names a protocol which it did not offer.
    fields = [
        (name, value)
        for name, value in items
        if name.lower() not in _HANDSHAKE_FIELDS
        and (name.lower() != _PROTOCOL_FIELD or value in offered)
    ]
    key = headers["Sec-WebSocket-Key"].encode()
    accept = b64encode(sha1(key + _ACCEPT_GUID).digest()).decode()
    own_lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    if compression is not None:
        own_lines += f"Sec-WebSocket-Extensions: {compression.field}\r\n"
    date = exchange.connection.listener.date.line()
    return encode_head(101, fields, reason="", own_lines=own_lines, date=date)


def _names(values: Iterable[str], token: str) -> bool:
    return any(token == each.strip().lower() for value in values for each in value.split(","))


def _is_key(value: str) -> bool:
    try:
        return len(b64decode(value, validate=True)) == _KEY_BYTES
    except (Base64Error, ValueError):
        return False
