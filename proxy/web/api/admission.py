"""Decides who may use the API, and who may change something by it. No other code decides this. Event loop."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from proxy.errors import Unauthorized
from proxy.web.admin import require_admin
from proxy.web.context import Context


@dataclass(frozen=True, slots=True)
class Admittance:
    """The rights of a client of the API. may_change: whether it may use endpoints that change something.

    Purging is not among these: its rights are those of `POST /purge`.
    """

    may_change: bool

    def require_change(self) -> None:
        """Let a change pass or raise.

        Raises:
            Unauthorized: the client may only read.
        """
        if not self.may_change:
            raise Unauthorized("Without server.admin_token this API only reads and purges.")


def admitted(context: Context, request: web.BaseRequest) -> Admittance:
    """Return the rights of a client.

    With the token a client may do everything. Without a token configured, clients on this machine may read.

    Raises:
        Unauthorized: the client may not even read.
    """
    require_admin(request, context.config.server)
    return Admittance(may_change=bool(context.config.server.admin_token))
