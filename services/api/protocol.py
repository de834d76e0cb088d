"""HTTP/1.1 as the server reads it, with a bound on the head of a request, and refusals that read like every other.

What comes before the application knows of a request (its line and its headers) is held in memory for whoever sends it:
without a bound anybody could send one without end.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any, Final, NoReturn

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.api.errors import BadRequest, HeadersTooLarge, Problem
from services.api.handlers import PROBLEM_JSON
from services.api.middleware import HEADERS

# Of the request line and all headers together; and how many headers there may be.
MOST_BYTES: Final = 65_536
MOST_HEADERS: Final = 100
# What a header is longer by than its name and value, and a request line than its address.
_BETWEEN: Final = 4
# Closed at once, a connection on which something still comes loses the answer: for so long it is read and thrown away.
_LINGER_SECONDS: Final = 1.0


class HeadLimits(HttpToolsProtocol):
    """One connection. The head of each of its requests is counted as it comes."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # Of the present request: whether its head or its body is being read, what has been read of its head in whole
        # addresses and headers, and what has come of it at all.
        self._in_head = self._in_body = False
        self._read = self._come = 0
        self._begun = 0
        self._refusal: Problem | None = None

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        in_head, in_body, begun = self._in_head, self._in_body, self._begun
        super().data_received(data)
        if self._refusal is not None or not self._in_head:
            return
        # A header is told of once it is whole, which one without end never is.
        if not in_body and self._begun - begun <= (0 if in_head else 1):
            self._come += len(data)
        if self._come > MOST_BYTES:
            self._refusal = _too_large()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._read = self._come = 0
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _BETWEEN)
        if len(self.headers) >= MOST_HEADERS:
            self._refuse()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Whatever is refused before it is a request: by us, or (`msg`) because it can't be read."""
        self._refusal = problem = self._refusal or BadRequest(msg)
        request_id = secrets.token_hex(16)
        body = orjson.dumps(problem.document(instance="", request_id=request_id))
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
            *HEADERS,
            *self.server_state.default_headers,
        ]
        status = b"HTTP/1.1 %d %b\r\n" % (problem.status, HTTPStatus(problem.status).phrase.encode())
        self.transport.write(b"".join([status, *(b"%b: %b\r\n" % each for each in headers), b"\r\n", body]))
        if self.cycle is not None and not self.cycle.response_complete:
            # A request before it on this connection, or the one whose body this is: nobody hears its answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > MOST_BYTES:
            self._refuse()

    def _refuse(self) -> NoReturn:
        """Ends the parser's work, which then asks for the answer."""
        self._refusal = _too_large()
        raise self._refusal


def _too_large() -> Problem:
    return HeadersTooLarge(f"The request line and headers may have {MOST_BYTES} bytes, in {MOST_HEADERS} headers.")
