"""The api-worker as its own process, which a test may kill."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.conftest import Servers
from tests.faults.installation import eventually, free_port


@dataclass
class WorkerProcess:
    """One worker at a time; `start` after `kill` is a new one."""

    servers: Servers
    log: Path
    settings: dict[str, str]
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it is ready."""
        port = free_port()
        environment = {
            **os.environ,
            "SIXTEEN_DATABASE_URL": self.servers.database_url,
            "SIXTEEN_REDIS_URL": self.servers.redis_url,
            "SIXTEEN_EMBEDDED": "1",
            "SIXTEEN_SECRET_KEY": "t",
            "SIXTEEN_METRICS_PORT": str(port),
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.api.worker", env=environment, stdout=log, stderr=log
            )

        async def ready() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                try:
                    return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

        await eventually(ready, 40)

    async def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Lets it end."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def running_worker(servers: Servers, folder: Path, **settings: str) -> AsyncIterator[WorkerProcess]:
    """A worker that works."""
    worker = WorkerProcess(servers, folder / "worker.log", settings)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
