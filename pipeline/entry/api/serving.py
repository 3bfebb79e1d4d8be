"""The HTTP server of the API: uvicorn, with a bound on how long a request's head may take.

Bodies are bounded by the edge; a head that is sent byte by byte never reaches it. uvicorn's own time
limit is for quiet connections only, and every byte ends the quiet.
"""

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
SHUTDOWN_WITHIN_S: Final = 30
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol that ends a connection whose request head is not whole in time."""

    head_within_s = HEAD_WITHIN_S
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count with the connection."""
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        """Count anew for each further request of the connection."""
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole: the edge takes over."""
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(self.head_within_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_TOO_SLOW)
            self.transport.close()


def server(app: Any, **options: Any) -> uvicorn.Server:
    """Make the server of an application, to ``run`` or ``serve``; ``options`` are uvicorn's."""
    told: dict[str, Any] = {
        "http": BoundedProtocol, "timeout_keep_alive": KEEP_ALIVE_S, "log_level": "warning",
        "timeout_graceful_shutdown": SHUTDOWN_WITHIN_S,
    }  # fmt: skip
    return uvicorn.Server(uvicorn.Config(app, **(told | options)))
