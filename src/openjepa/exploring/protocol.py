"""HTTP/1.1 of uvicorn, with limits for clients that send or take slowly, and errors as the rest of the API has them."""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0  # from a connection, or the first byte of a further request, to the end of its head
SEND_SECONDS = 60.0  # in which a client must take enough of an answer that more can be sent
CLOSE_SECONDS = 60.0  # in which the rest of an answer must be taken once a connection is to be closed


class Ending:
    """A transport that is cut where a client does not take the rest of an answer within `CLOSE_SECONDS` of its end."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if not self.is_closing() and self.get_write_buffer_size():
            self._loop.call_later(CLOSE_SECONDS, self.abort)
        self._transport.close()


class LimitedProtocol(H11Protocol):
    """A connection that is cut where no request comes within `HEAD_SECONDS`, or no answer is taken."""

    _deadline: asyncio.TimerHandle | None = None
    _full: asyncio.TimerHandle | None = None  # runs while more cannot be sent

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Ending(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._full is not None:
            self._full.cancel()
            self._full = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Set the deadline where no request is being answered, and drop it where one is."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": "this is not HTTP as it is understood here: see docs/reference/http.md"}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
