"""The reply to a request that follows redirects: an object's redirect is no outcome, but another request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workers import Request, Response

from dohost.errors import JsTypeError
from dohost.objects.redirects import Trail
from dohost.objects.rpc import Reply


class FollowingReply(Reply):
    """Takes each response from the object, until one of them is the answer.

    A further hop leaves at once: it tells nothing of what its caller has written since the first one.
    """

    __slots__ = ("_send", "_trail")

    def __init__(
        self,
        trail: Trail,
        send: Callable[[FollowingReply, Request], None],
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._trail = trail
        self._send = send

    def set_result(self, value: object) -> None:
        """Be the answer, or ask again."""
        assert isinstance(value, Response), "FetchCall lets nothing else through"
        try:
            goes_on = self._trail.follow(value)
        except JsTypeError as error:
            self.set_exception(error)
            return
        if goes_on:
            self._send(self, self._trail.request())
        else:
            super().set_result(value)
