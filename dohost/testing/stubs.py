"""Whose stub a test holds: its object's address, and a name for messages."""

from __future__ import annotations

from dohost.errors import CallerError
from dohost.objects.namespace import DurableObjectNamespace
from dohost.objects.stub import DurableObjectStub
from dohost.testing.faults import Address, FaultyDispatcher


def unique_key_of(holder: DurableObjectStub | DurableObjectNamespace) -> str:
    """Return the key of the class behind a stub or namespace. Raises: CallerError for a foreign one."""
    dispatcher = getattr(holder, "_dispatcher", None)
    if not isinstance(dispatcher, FaultyDispatcher):
        raise CallerError(
            f"{holder!r} is no stub or namespace of this test; take it from dohost.env, as in "
            'dohost.env.COUNTER.getByName("a").'
        )
    return dispatcher.unique_key


def address_of(stub: DurableObjectStub) -> Address:
    """Return the class and id of an object. Raises: CallerError."""
    return (unique_key_of(stub), str(stub.id))


def label_of(stub: DurableObjectStub) -> str:
    """Return how messages call an object. Raises: CallerError."""
    name = str(stub.id)[:8] if stub.name is None else repr(stub.name)
    return f"{unique_key_of(stub)} {name}"
