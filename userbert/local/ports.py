"""Ports of this machine's loopback interface."""

import contextlib
import socket

from contracts.errors import UserbertError

LOOPBACK = "127.0.0.1"


class NoFreePort(UserbertError):
    """Nothing can listen on the loopback interface."""


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens on it, else a port that the system picks."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            # A port is free as soon as its server has ended, not a minute later.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise NoFreePort(f"no free port on {LOOPBACK}")
