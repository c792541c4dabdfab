"""Who may read the page: whoever has its address, on this machine.

The address holds a random token. A request without it, or one that calls this machine by another
name (as a foreign page does that was resolved to 127.0.0.1), is refused with 403.
"""

import hmac
import secrets
from dataclasses import dataclass, field

from flask import Flask, Response, abort, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from contracts.errors import BadInput

LOOPBACK = "127.0.0.1"
_LOCAL_NAMES = (LOOPBACK, "localhost")
_TOKEN_BYTES = 16
# Plotly's maps compile their drawing functions, and Dash's page has its settings inline. Nothing is
# loaded from, or sent to, anywhere else.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; worker-src 'self' blob:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """The part of the address that only who started the explorer knows."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def prefix(self) -> str:
        return f"/{self.token}/"

    def address(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}{self.prefix}"


def guard_server(server: Flask, door: Door) -> None:
    """Refuse every request that does not come through the door, before anything is read."""

    @server.before_request
    def must_have_token() -> None:
        host = request.host.rsplit(":", 1)[0]
        first = request.path.split("/")[1]
        if host not in _LOCAL_NAMES or not hmac.compare_digest(first.encode(), door.token.encode()):
            abort(403)

    @server.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response


class _QuietHandler(WSGIRequestHandler):
    """Requests hold the token and user_ids, so none is logged."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


def bind_server(server: Flask, port: int) -> BaseWSGIServer:
    """Listen on the loopback interface alone; port 0 takes a free one."""
    try:
        return make_server(LOOPBACK, port, server, threaded=True, request_handler=_QuietHandler)
    except (OSError, SystemExit) as error:
        raise BadInput(
            f"--port {port}: another program listens there; name another, or leave it out"
        ) from error
