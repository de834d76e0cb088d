"""`python -m services.api`: the api on uvicorn."""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from pydantic import ValidationError

from services.api.main import create_app
from services.api.settings import ApiSettings
from shared.schema_check import NotReady, require_schema


def main() -> int:
    try:
        settings = ApiSettings()
        asyncio.run(require_schema(settings.database_url, settings.role))
    except ValidationError as error:
        for wrong in error.errors():
            place = "_".join(str(part) for part in wrong["loc"]).upper()
            sys.stderr.write(f"SIXTEEN_{place}: {wrong['msg']}\n" if place else f"{wrong['msg']}\n")
        return 2
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_shutdown,
        timeout_keep_alive=30,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
