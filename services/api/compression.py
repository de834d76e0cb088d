"""Smaller answers for who asks for them: gzip, for bodies worth the work.

Nothing is done for a caller that does not accept gzip but to say so (`Vary`). The ETag is the same in all codings: it
names a state of the resource, no answer may be cached by others (`no-store`), and none can be had in parts. Secrets
and what a stranger chose never meet in one compressed body a browser would send for on its own: every call carries a
bearer key that only its own page holds, so that their lengths tell nothing (BREACH).
"""

from __future__ import annotations

from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Receive, Scope, Send

# Below this, what the network saves is less than what compressing costs.
SMALLEST = 1024
# About a fifth larger than the best level gives, in a third of its time.
LEVEL = 4
# Larger bodies are compressed beside the event loop.
ASIDE = 64 * 1024


class Compression:
    """Compresses the answers of `app`; a stream of events is let through as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and accepts_gzip(scope):
            responder = GZipResponder(self._app, SMALLEST, LEVEL, thread_minimum_size=ASIDE)
            await responder(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def accepts_gzip(scope: Scope) -> bool:
    """Whether Accept-Encoding names gzip (or anything, `*`) and not with a weight of 0."""
    given = [value for name, value in scope["headers"] if name == b"accept-encoding"]
    if not given:
        return False
    weights: dict[str, bool] = {}
    for item in b",".join(given).decode("latin-1").lower().split(","):
        coding, _, parameter = item.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "").rstrip("0.") != "q="
    return weights.get("gzip", weights.get("*", False))
