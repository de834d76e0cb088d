"""`make run` as its user lives it: start, second start, a dead child, Ctrl-C, `kill -9` of everything."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deploy_cases import eventually, is_alive, run_sixteen

READY_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Run:
    """A running installation and what it announced."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir

    @property
    def local(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.data_dir / "local.json").read_text())
        return facts

    @property
    def pids(self) -> dict[str, int]:
        return dict(self.local["pids"])

    async def lives(self) -> bool:
        """Whether every process soon answers at the address that was announced, with metrics of its own."""
        own = {"api": "http_server_active", "api-worker": "sixteen_import_rows", "scoring": "sixteen_judged_total"}
        assert set(self.local["metrics"]) == set(own)
        return all([await self._shows(name, metric) for name, metric in own.items()])

    async def _shows(self, name: str, metric: str) -> bool:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        async with httpx.AsyncClient(trust_env=False) as client:
            while asyncio.get_running_loop().time() < deadline:
                # Announced as soon as the process runs, which is before it listens.
                with contextlib.suppress(httpx.TransportError):
                    return f"# HELP {metric}" in (await client.get(self.local["metrics"][name])).text
                await asyncio.sleep(0.1)
        return False

    async def accepts_key(self, key: str) -> bool:
        async with httpx.AsyncClient(base_url=self.local["base_url"], trust_env=False) as client:
            for _ in range(100):
                answer = await client.get("/v1/me", headers={"Authorization": f"Bearer {key}"})
                # A database that has just come back may be told of as away once more.
                if answer.status_code != 503:
                    break
                await asyncio.sleep(0.1)
        return answer.status_code == 200


@contextlib.asynccontextmanager
async def running(data_dir: Path, port: int) -> AsyncIterator[Run]:
    """`make run` with an empty workspace; killed at the end if it still lives."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SIXTEEN_")}
    environment |= {"SIXTEEN_DATA_DIR": str(data_dir), "SIXTEEN_PORT": str(port), "SIXTEEN_DEMO": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.embedded.run",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        announced = data_dir / "local.json"
        assert await eventually(lambda: announced.exists() or process.returncode is not None, READY_SECONDS)
        assert process.returncode is None, (data_dir / "logs" / "api.log").read_text()
        yield Run(process, data_dir)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.faults
async def test_a_run_from_start_to_stop(public_folder: Path) -> None:
    data, port = public_folder / "data", free_port()
    async with running(data, port) as run:
        assert (data / "local.json").stat().st_mode & 0o777 == 0o600
        assert set(run.local) == {"base_url", "api_key", "database_url", "redis_url", "metrics", "pids"}
        assert await run.lives()
        first = run.pids
        assert set(first) == {"supervisor", "postgres", "redis", "api", "api-worker", "scoring"}
        assert all(is_alive(pid) for pid in first.values())
        assert await run.accepts_key(run.local["api_key"])

        code, _, errors = await run_sixteen("run", SIXTEEN_DATA_DIR=str(data), SIXTEEN_PORT=str(port))
        assert (code, errors.count("\n")) == (1, 1)
        assert f"in use by a running installation (process {first['supervisor']})" in errors
        other = str(public_folder / "other")
        code, _, errors = await run_sixteen("run", SIXTEEN_DATA_DIR=other, SIXTEEN_PORT=str(port))
        assert code == 1
        assert errors.startswith(f"Port {port} is taken")

        for name in ("scoring", "redis", "postgres"):
            os.kill(first[name], signal.SIGKILL)
            assert await eventually(lambda name=name: run.pids.get(name) not in (None, first[name]))
        assert await run.accepts_key(run.local["api_key"])
        assert await run.lives()

        last = run.pids
        run.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(run.process.wait(), 60) == 0
    assert not (data / "local.json").exists()
    assert await eventually(lambda: not any(is_alive(pid) for pid in last.values()))


@pytest.mark.faults
async def test_a_second_run_finds_its_data_after_everything_was_killed(public_folder: Path) -> None:
    data, port = public_folder / "data", free_port()
    async with running(data, port) as run:
        key = run.local["api_key"]
        secret = (data / "secret.key").read_text()
        for pid in run.pids.values():
            os.kill(pid, signal.SIGKILL)
        await run.process.wait()
    (data / "local.json").unlink()
    async with running(data, port) as run:
        assert run.local["api_key"] == key
        assert await run.accepts_key(key)
        assert (data / "secret.key").read_text() == secret
        run.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(run.process.wait(), 60) == 0
