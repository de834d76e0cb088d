"""The api as a whole: `create_app` is the only place where its parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.api import handlers, health, openapi
from services.api.auth.identity import Identities
from services.api.auth.tokens import Tokens
from services.api.compression import Compression
from services.api.cors import Cors
from services.api.docs.routes import router as docs
from services.api.events.hub import CLUSTER, Hub
from services.api.features import ROUTERS
from services.api.limits.admission import Limits
from services.api.middleware import Edge
from services.api.pagination import Cursors
from services.api.routing import RouteIndex
from services.api.settings import ApiSettings
from services.api.state import State
from shared import telemetry
from shared.clock import Clock, SystemClock
from shared.db import Database, open_database
from shared.listener import Hints
from shared.queue import Nudger

# Who waits for a row holds a connection that all others need too.
LOCK_TIMEOUT_MS = 5_000


def create_app(settings: ApiSettings | None = None, clock: Clock | None = None) -> FastAPI:
    """The application; settings come from the environment unless given."""
    settings = settings or ApiSettings()
    app = FastAPI(
        title="Sixteen",
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        lifespan=_lifespan(settings, clock or SystemClock()),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        # Metrics and logs are our own (shared/telemetry.py); traces are there for whoever installs a provider.
        telemetry={"metrics": False, "logs": False},
    )
    app.state.cursors = Cursors(settings.secret_key.get_secret_value())
    handlers.install(app)
    routers = (health.router, docs, *ROUTERS)
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.state.routes = routes
    app.router.routes.append(RouteIndex(routes))
    app.openapi = lambda: openapi.document(app, routes)  # type: ignore[method-assign]
    app.add_middleware(Compression)
    app.add_middleware(Edge, body_limit=settings.body_limit, upload_limit=settings.upload_limit)
    if settings.cors_origins:
        # Around everything: a page can read every answer, those that the edge itself gives (413, 500) too.
        app.add_middleware(Cors, origins=settings.cors_origins)
    if settings.trusted_proxies:
        # Outermost, so that all else knows the caller's own address: the rightmost that is no trusted proxy's.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


async def _hub(settings: ApiSettings, database: Database, identities: Identities, cursors: Cursors) -> Hub:
    return Hub(
        database,
        identities,
        cursors,
        cluster=await database.fetchval(CLUSTER),
        event_days=settings.event_days,
        most=settings.streams,
        most_per_caller=settings.streams_per_caller,
    )


def _lifespan(settings: ApiSettings, clock: Clock) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        telemetry.configure_logging("api", settings.log_level)
        telemetry.expose("api")
        database = await open_database(
            settings.database_url,
            settings.role,
            size=settings.database_pool,
            statement_cache=settings.statement_cache,
            statement_timeout_ms=settings.statement_timeout_ms,
            lock_timeout_ms=LOCK_TIMEOUT_MS,
        )
        nudger = Nudger(settings.redis_url)
        nudger.start()
        identities = Identities(database, settings.identity_ttl, Tokens(settings.identity_providers))
        hub = await _hub(settings, database, identities, app.state.cursors)
        nudger.hear = hub.tell
        hints = asyncio.create_task(Hints(settings.redis_url, hub.tell, hub.tell_all).run(), name="hints")
        limits = Limits.of(settings)
        state = State(settings, database, identities, nudger, clock, hub, limits, ready=True)
        app.state.sixteen = state
        try:
            yield
        finally:
            state.ready = False
            hints.cancel()
            await asyncio.gather(hints, return_exceptions=True)
            await hub.close()
            await nudger.close()
            await limits.close()
            await identities.tokens.close()
            await database.close()

    return lifespan
