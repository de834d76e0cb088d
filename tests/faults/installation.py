"""The whole product as its operator runs it, with servers and processes that a test may take away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
from redis.asyncio import Redis

from deploy.embedded import EmbeddedServers, embedded_servers
from deploy.embedded.programs import Program
from deploy.embedded.supervisor import Supervisor
from migrations.upgrade import upgrade_async
from services.api.auth.identity import Identities
from services.api.events.hub import Hub
from services.api.limits.admission import Limits
from services.api.pagination import Cursors
from services.api.settings import ApiSettings
from services.api.state import State
from shared.clock import SystemClock
from shared.db import open_database
from shared.queue import Nudger
from tests.support.caller import Caller, make_workspace

MODULES = {"api": "services.api", "api-worker": "services.api.worker", "scoring": "services.scoring.worker"}
READY_SECONDS = 30.0

Found = TypeVar("Found")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(look: Callable[[], Awaitable[Found]], seconds: float = 20.0) -> Found:
    """The first truthy result of `look`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"it did not come about within {seconds:.0f} s: {found}"
        await asyncio.sleep(0.02)


@dataclass
class Installation:
    """Everything runs under a supervisor, which starts what dies anew. `state` is the tests' own way in."""

    servers: EmbeddedServers
    supervisor: Supervisor
    environment: dict[str, str]
    logs: Path
    base_url: str
    state: State
    http: httpx.AsyncClient
    said: list[tuple[str, str]] = field(default_factory=list)

    async def start(self, *names: str) -> None:
        """Starts processes of ours and waits until the api answers."""
        for name in names:
            program = Program.module(
                name, MODULES[name], self.environment, self.logs, lambda line, name=name: self.said.append((name, line))
            )
            await self.supervisor.add(name, program)
        if "api" in names:
            await eventually(self.ready, READY_SECONDS)

    async def ready(self) -> bool:
        """Whether the api takes requests."""
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def pid(self, name: str) -> int | None:
        """The process that runs now; None while none does."""
        return self.supervisor.pids().get(name)

    def kill(self, name: str) -> None:
        """`kill -9`, if it runs."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def log_of(self, name: str) -> str:
        """All that a process has written."""
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def redis(self) -> Redis:
        """A client of the tests' own."""
        return Redis.from_url(self.servers.redis_url)

    async def superuser(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.servers.superuser_url)

    async def workspace(self, name: str = "Faults") -> Caller:
        """The administrator of a new workspace."""
        return await make_workspace(self.http, self.state, name)

    async def read(self, workspace_id: UUID, query: str, *values: Any) -> list[asyncpg.Record]:
        """Reads in the api's role; $1 is the workspace."""
        async with self.state.database.transaction(workspace_id) as tx:
            rows: list[asyncpg.Record] = await tx.connection.fetch(query, workspace_id, *values)
            return rows

    async def settled(self, workspace_id: UUID, seconds: float = 30.0) -> None:
        """Waits until nothing is marked."""

        async def clean() -> bool:
            query = "SELECT 1 FROM scoring.dirty_marks WHERE workspace_id = $1 LIMIT 1"
            return not await self.read(workspace_id, query)

        await eventually(clean, seconds)


def environment_of(servers: EmbeddedServers, data_dir: Path, port: int) -> dict[str, str]:
    """What `make run` gives its children."""
    return {
        "SIXTEEN_DATABASE_URL": servers.database_url,
        "SIXTEEN_REDIS_URL": servers.redis_url,
        "SIXTEEN_DATA_DIR": str(data_dir),
        "SIXTEEN_EMBEDDED": "1",
        "SIXTEEN_SECRET_KEY": "of the fault tests",
        "SIXTEEN_PORT": str(port),
    }


@asynccontextmanager
async def open_installation(folder: Path, **settings: str) -> AsyncIterator[Installation]:
    """Servers, schema and a supervisor, but no process of ours yet; all is stopped at the end."""
    port = free_port()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(embedded_servers(folder, durable=True))
        await upgrade_async(servers.database_url)
        made = ApiSettings(database_url=servers.database_url, redis_url=servers.redis_url, embedded=True)
        database = await open_database(made.database_url, made.role, size=3)
        stack.push_async_callback(database.close)
        base_url = f"http://127.0.0.1:{port}"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False))
        identities = Identities(database, 0)
        cursors = Cursors(made.secret_key.get_secret_value())
        hub = Hub(database, identities, cursors, cluster=0, event_days=30, most=1, most_per_caller=1)
        said: list[tuple[str, str]] = []
        supervisor = Supervisor(lambda name, line: said.append((name, line)))
        stack.push_async_callback(supervisor.stop, [list(MODULES)])
        yield Installation(
            servers=servers,
            supervisor=supervisor,
            environment={**environment_of(servers, folder, port), **settings},
            logs=servers.layout.logs,
            base_url=base_url,
            state=State(
                made, database, identities, Nudger(made.redis_url), SystemClock(), hub, Limits.of(made), ready=True
            ),
            http=http,
            said=said,
        )
