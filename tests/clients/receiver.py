"""A receiver for the smoke flows: keeps the first delivery to `/hooks/{flow}`, gives it at `/received/{flow}`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    received: dict[str, dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.received.setdefault(self.path.rsplit("/", 1)[-1], {"headers": headers, "body": body.decode()})
        self._answer(204, b"")

    def do_GET(self) -> None:
        found = self.received.get(self.path.rsplit("/", 1)[-1])
        self._answer(200 if found else 404, json.dumps(found).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: the flows say what matters."""


@contextmanager
def receiver() -> Iterator[str]:
    """The address of a receiver that runs while the block does."""
    handler = type("Handler", (_Handler,), {"received": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
