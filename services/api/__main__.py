"""`python -m services.api`: the api on uvicorn."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from services.api.main import create_app
from services.api.protocol import HeadLimits
from services.api.settings import ApiSettings
from shared.schema_check import NotReady, require_schema
from shared.settings import in_words


class Server(uvicorn.Server):
    """Ends the live streams before it waits for its connections to end: they would not end by themselves."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called on SIGTERM and SIGINT, once no new connection is taken."""
        self._app.state.sixteen.hub.stop()
        await super().shutdown(sockets)


def main() -> int:
    try:
        settings = ApiSettings()
        asyncio.run(require_schema(settings.database_url, settings.role))
    except ValidationError as error:
        sys.stderr.write(in_words(error))
        return 2
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        sys.stderr.write(
            f"Port {settings.port} of {settings.host} can't be opened ({error.strerror or error}): end what listens"
            " there, or set SIXTEEN_PORT and SIXTEEN_HOST.\n"
        )
        return 1
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HeadLimits,
        access_log=False,
        # Whose X-Forwarded-For is believed is a setting of the application (SIXTEEN_TRUSTED_PROXIES).
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_shutdown,
        timeout_keep_alive=30,
    )
    Server(config, app).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """The api's socket, opened before anything else is; raises OSError where it can't be."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


if __name__ == "__main__":
    sys.exit(main())
