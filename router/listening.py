"""The gateway's address: one listening socket for each worker, between which the kernel shares out connections.

Workers that accept from one and the same socket share badly: the kernel wakes the same one again and again, and up to
nine in ten connections end there. With sockets of their own (SO_REUSEPORT) each gets its part by a hash.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

from core.errors import StartupError

_BACKLOG: Final = 2048
_SHARES_OUT: Final = sys.platform.startswith("linux")
"""Elsewhere SO_REUSEPORT gives everything to the newest socket."""


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind and listen; `shared`: there will be siblings. Raises StartupError where the port is taken."""
    listener = _bound(host, port)
    if shared and _SHARES_OUT:
        # Bound alone at first: that fails where another gateway, which shares too, has the port.
        port = listener.getsockname()[1]
        listener.close()
        listener = _bound(host, port, siblings=True)
    return _listening(listener)


def sibling(listener: socket.socket, *, listening: bool = True) -> socket.socket:
    """Another socket for another worker, at the address of a `shared` one.

    Not `listening`, it gets no connections before the worker itself listens, which it does when it is ready.
    """
    if not _SHARES_OUT:
        return listener.dup()
    host, port = listener.getsockname()[:2]
    bound = _bound(host, port, siblings=True)
    return _listening(bound) if listening else bound


def _bound(host: str, port: int, *, siblings: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if siblings:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"port {port} is taken; stop what uses it, or set gateway.port (TUTELAGE_GATEWAY__PORT)"
            ) from error
        raise StartupError(f"cannot bind {host}:{port}: {error.strerror}") from error
    return listener


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(_BACKLOG)
    return listener
