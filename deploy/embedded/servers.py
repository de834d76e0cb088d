"""Embedded PostgreSQL and Redis as one context manager, for the supervisor, the tests and the bench."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.layout import Layout, exclusive, open_layout, socket_folder
from deploy.embedded.postgres import PostgresServer
from deploy.embedded.redis import RedisServer


@dataclass(frozen=True, slots=True)
class EmbeddedServers:
    """The servers that were started; asking for one that was not raises `EmbeddedServerError`."""

    layout: Layout
    postgres_server: PostgresServer | None
    redis_server: RedisServer | None

    @property
    def postgres(self) -> PostgresServer:
        if self.postgres_server is None:
            raise EmbeddedServerError("PostgreSQL is not embedded in this run.")
        return self.postgres_server

    @property
    def redis(self) -> RedisServer:
        if self.redis_server is None:
            raise EmbeddedServerError("Redis is not embedded in this run.")
        return self.redis_server

    @property
    def database_url(self) -> str:
        """URL of the login role: not a superuser, may create roles, owns the database."""
        return self.postgres.url

    @property
    def superuser_url(self) -> str:
        """URL of the superuser, in the same database: for tests and backups, never for a service."""
        return self.postgres.superuser_url

    @property
    def redis_url(self) -> str:
        return self.redis.url

    async def start_postgres(self) -> None:
        await self.postgres.start()

    async def stop_postgres(self) -> None:
        await self.postgres.stop()

    async def kill_postgres(self) -> None:
        await self.postgres.kill()

    async def restart_postgres(self) -> None:
        await self.postgres.restart()

    async def start_redis(self) -> None:
        await self.redis.start()

    async def stop_redis(self) -> None:
        await self.redis.stop()

    async def kill_redis(self) -> None:
        await self.redis.kill()

    async def restart_redis(self, *, empty: bool = False) -> None:
        await self.redis.restart(empty=empty)


@contextlib.asynccontextmanager
async def embedded_servers(
    data_dir: Path, *, durable: bool, postgres: bool = True, redis: bool = True
) -> AsyncIterator[EmbeddedServers]:
    """Run the servers on `data_dir`, which nobody else may be using, for the length of the block.

    With `durable=False` a power cut may lose the data: for tests. The servers die with the *thread* that
    entered the block, so enter it in a thread that outlives it. Raises `EmbeddedServerError`.
    """
    layout = open_layout(data_dir)
    with exclusive(layout), socket_folder(layout) as sockets:
        # What an earlier run announced here no longer holds.
        layout.local_json.unlink(missing_ok=True)
        servers = EmbeddedServers(
            layout,
            PostgresServer(layout, sockets, durable=durable) if postgres else None,
            RedisServer(layout, sockets, durable=durable) if redis else None,
        )
        try:
            if postgres:
                await servers.start_postgres()
            if redis:
                await servers.start_redis()
            yield servers
        finally:
            if redis:
                await servers.stop_redis()
            if postgres:
                await servers.stop_postgres()
