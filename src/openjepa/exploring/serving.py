"""From an index to a server that runs until it is ended."""

import atexit
import contextlib
import ipaddress
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from typing import Any

from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.indexing.index import Index
from openjepa.optional import require

INTERRUPTED = 130  # the exit code after Ctrl-C
LEAST_TOKEN, MOST_TOKEN = 16, 512  # characters
BACKLOG = 256
NEEDED = ("starlette", "uvicorn")
SETTINGS = {
    "ws": "none",
    "loop": "asyncio",
    "lifespan": "off",
    "proxy_headers": False,
    "server_header": False,
    "access_log": False,
    "log_config": None,
    "log_level": "critical",
    "h11_max_incomplete_event_size": 2**14,
    "timeout_graceful_shutdown": 1,
}


def check_installed() -> None:
    """Raise UsageError without the extra."""
    for module in NEEDED:
        require(module, "explore")


def is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def check_token(token: str) -> str:
    """A token that was given, or a random one. Raises UsageError for one that is easily guessed or no token."""
    if not token:
        return secrets.token_urlsafe(24)
    if not (token.isascii() and token.isprintable() and " " not in token and LEAST_TOKEN <= len(token) <= MOST_TOKEN):
        raise UsageError(
            f"the token is not possible: give {LEAST_TOKEN} to {MOST_TOKEN} characters of ASCII without spaces"
        )
    return token


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; port 0 takes one that is free. Raises UsageError where there is none at that address."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is not possible: give 0 to 65535")
    try:
        family, kind, number, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host} is not an address of this machine: give 127.0.0.1") from error
    with listener:
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(BACKLOG)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"cannot listen at {host}, port {port} ({reason}): give another --port") from error
        yield listener


class Server:
    """A server of an index or a model at a listening socket; `run` ends with a signal, or when `stop` is called."""

    def __init__(self, served: Index | Model, listener: socket.socket, host: str, token: str, page: bool) -> None:
        # Here, because the extra brings them.
        import uvicorn

        from openjepa.exploring.app import make_app
        from openjepa.exploring.collection import Collection, ModelHost
        from openjepa.exploring.guard import Guard, in_address
        from openjepa.exploring.protocol import LimitedProtocol

        self.listener, port = listener, listener.getsockname()[1]
        self.address = f"http://{in_address(host)}:{port}/"
        self.collection = Collection(served, page) if isinstance(served, Index) else ModelHost(served)
        self._guard = Guard(make_app(self.collection), token, host, port, cookie=page)
        settings: dict[str, Any] = {"http": LimitedProtocol, **SETTINGS}
        self._server = uvicorn.Server(uvicorn.Config(self._guard, **settings))

    def address_for_browser(self) -> str:
        """An address that opens the page once: other users see the command line of a browser, so it has no token."""
        return f"{self.address}?token={self._guard.code()}"

    def run(self) -> None:
        """Answer requests. Raises KeyboardInterrupt after Ctrl-C."""
        try:
            self._server.run(sockets=[self.listener])
        except (KeyboardInterrupt, SystemExit) as error:
            atexit.register(_leave, error.code if isinstance(error, SystemExit) else INTERRUPTED)
            raise

    def stop(self) -> None:
        self._server.should_exit = True


def _leave(code: object) -> None:
    """End the process where a thread still computes: it cannot be ended, and the interpreter's end would crash it."""
    from openjepa.exploring.once import Once

    if Once.computing:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def opened_in_browser(address: str) -> bool:
    """Open an address in the browser, where there is a screen and somebody before it."""
    display = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not (display and sys.stdout and sys.stdout.isatty()):
        return False
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    return True
