"""The bench's own stack: servers, the api and the bare application as processes, and a workspace full of facts."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx

from deploy.embedded import EmbeddedServers, embedded_servers
from migrations.upgrade import upgrade_async
from services.api.workspaces.service import create_workspace
from shared.db import Database, open_database
from shared.ids import new_id
from shared.outbox import write_effects
from tests.bench.seeding import Seeded, seed_workspace


@dataclass
class Stack:
    """Where everything is. `processes` are stopped with the stack."""

    servers: EmbeddedServers
    database: Database
    workspace_id: UUID
    api_key: str
    seeded: Seeded
    data_dir: Path
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    api_port: int = 0
    bare_port: int = 0

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "SIXTEEN_DATABASE_URL": self.servers.database_url,
            "SIXTEEN_REDIS_URL": self.servers.redis_url,
            "SIXTEEN_EMBEDDED": "1",
            "SIXTEEN_SECRET_KEY": "bench",
            "SIXTEEN_DATA_DIR": str(self.data_dir),
            **more,
        }

    async def start(self, module: str, **environment: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, env=self.environment(**environment), stdout=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    async def superuser(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.servers.superuser_url)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_for(url: str, seconds: float = 30) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(int(seconds / 0.1)):
            try:
                if (await client.get(url)).status_code < 500:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url} did not answer")


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running_stack(data_dir: Path, opportunities: int) -> AsyncIterator[Stack]:
    """Servers with `opportunities` judged facts, the api, and the bare application beside it."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(embedded_servers(data_dir / "bench", durable=True))
        await upgrade_async(servers.database_url)
        database = await open_database(servers.database_url, "sixteen_api", statement_timeout_ms=600_000)
        stack.push_async_callback(database.close)
        workspace_id = new_id()
        async with database.transaction(workspace_id) as tx:
            made = await create_workspace(tx, name="Bench", currency="CNY")
            await write_effects(tx)
        seeded = await seed_workspace(servers, workspace_id, opportunities)
        running = Stack(servers, database, workspace_id, made.api_key, seeded, data_dir)
        running.api_port, running.bare_port = free_port(), free_port()
        try:
            await running.start("services.api", SIXTEEN_PORT=str(running.api_port))
            await running.start(
                "tests.bench.bare_app",
                BENCH_SUPERUSER_URL=servers.superuser_url,
                BENCH_WORKSPACE=str(workspace_id),
                BENCH_STAGE=str(seeded.first_stage_id),
                BENCH_PORT=str(running.bare_port),
            )
            await wait_for(f"http://127.0.0.1:{running.api_port}/readyz")
            await wait_for(f"http://127.0.0.1:{running.bare_port}/docs")
            yield running
        finally:
            for process in running.processes:
                if process.returncode is None:
                    process.terminate()
            await asyncio.gather(*(_ended(process) for process in running.processes))
