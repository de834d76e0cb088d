"""The whole product on one machine: servers, migration, services, first data, and the news that it is ready."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from functools import partial

import httpx
from rich.table import Table

from deploy.embedded.errors import StartupError
from deploy.embedded.layout import Layout, exclusive, open_layout
from deploy.embedded.preflight import check_database, check_redis, free_port, wait_for_port
from deploy.embedded.programs import Program
from deploy.embedded.servers import EmbeddedServers, embedded_servers
from deploy.embedded.settings import LocalSettings, read_private, secret_key, write_private
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.terminal import Terminal

SERVICES = {"api": "services.api", "api-worker": "services.api.worker", "scoring": "services.scoring.worker"}
WORKERS = frozenset({"api-worker", "scoring"})
# The api goes first, so that no new work arrives; the workers finish theirs; the truth goes last.
STOP_ORDER = (("api",), ("api-worker", "scoring"), ("redis",), ("postgres",))
READY_SECONDS = 90.0
RANKED_SECONDS = 120.0
LAST_REQUESTS_SECONDS = 10.0
GIVE_UP_AFTER_DEATHS = 3


class StopRequestedError(Exception):
    """The run was asked to stop before it was ready."""


class Installation:
    """One run of the product on `settings.data_dir`."""

    def __init__(self, settings: LocalSettings, layout: Layout, servers: EmbeddedServers, terminal: Terminal) -> None:
        self.settings = replace(settings, data_dir=layout.root)
        self.layout = layout
        self.servers = servers
        self.terminal = terminal
        self.database_url = settings.database_url or servers.database_url
        self.redis_url = settings.redis_url or servers.redis_url
        self.api_key: str | None = None
        self.metrics_ports: dict[str, int] = {}
        self.supervisor = Supervisor(terminal.say, self._write_local_json)

    def environment(self) -> dict[str, str]:
        """What every process of this run is told."""
        return {
            "SIXTEEN_DATABASE_URL": self.database_url,
            "SIXTEEN_REDIS_URL": self.redis_url,
            "SIXTEEN_DATA_DIR": str(self.layout.root),
            "SIXTEEN_PORT": str(self.settings.port),
            "SIXTEEN_EMBEDDED": "1",
            "SIXTEEN_SECRET_KEY": os.environ.get("SIXTEEN_SECRET_KEY") or secret_key(self.layout.secret_key),
        }

    def worker_environment(self, name: str) -> dict[str, str]:
        """The same, and a port for the worker's probes: chosen at each start, as the one before may be taken by now."""
        taken = {self.settings.port, *self.metrics_ports.values()}
        self.metrics_ports[name] = free_port(taken)
        return {**self.environment(), "SIXTEEN_METRICS_PORT": str(self.metrics_ports[name])}

    async def start(self) -> None:
        """Migrate, start the services, wait until the api is ready, make the first data, tell."""
        os.environ.update(self.environment())
        if self.servers.postgres_server:
            await self.supervisor.add("postgres", self.servers.postgres_server)
        if self.servers.redis_server:
            await self.supervisor.add("redis", self.servers.redis_server)
        await self._migrate()
        for name, module in SERVICES.items():
            program = self._program(name, module)
            await self.supervisor.add(name, program)
            self.terminal.say(name, f"started (process {program.pid})")
        await self._wait_ready()
        api_key, focus_rep_id = await self._seed()
        table = await self._ranked(api_key, focus_rep_id) if focus_rep_id else None
        self.api_key = api_key
        await asyncio.to_thread(self._write_local_json)
        self.terminal.summary(self.settings, api_key, table)

    async def stop(self) -> None:
        self.api_key = None
        self.layout.local_json.unlink(missing_ok=True)
        await self.supervisor.stop(STOP_ORDER)

    def _program(self, name: str, module: str) -> Program:
        environment = partial(self.worker_environment, name) if name in WORKERS else self.environment
        return Program.module(name, module, environment, self.layout.logs, lambda line: self.terminal.say(name, line))

    async def _migrate(self) -> None:
        program = self._program("migrate", "migrations")
        await program.start()
        try:
            code = await program.wait()
        finally:
            await program.stop()
        if code != 0:
            raise StartupError(
                f"The database could not be migrated: {program.complaint or 'no reason given'} (see {program.log})"
            )
        self.terminal.say("migrate", "the schema is up to date")

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        answer = "it does not listen yet"
        async with httpx.AsyncClient(base_url=self.settings.base_url, timeout=5, trust_env=False) as client:
            while time.monotonic() < deadline:
                if self.supervisor.deaths("api") >= GIVE_UP_AFTER_DEATHS:
                    raise StartupError(f"The api dies while starting: see {self.layout.logs / 'api.log'}")
                try:
                    response = await client.get("/readyz")
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                    continue
                if response.status_code == 200:
                    return
                answer = response.text[:300]
                await asyncio.sleep(0.2)
        raise StartupError(
            f"The api was not ready within {READY_SECONDS:.0f} s ({answer}): see {self.layout.logs / 'api.log'}"
        )

    async def _seed(self) -> tuple[str, str | None]:
        """Return the admin API key and, with demo data, the id of the rep whose ranking is shown."""
        from deploy.demo.seed import seed_if_empty

        known = await asyncio.to_thread(read_private, self.layout.admin_key)
        with self.terminal.status("Preparing the workspace …"):
            seeded = await seed_if_empty(
                self.database_url, self.redis_url, demo=self.settings.demo, known_key=known or None
            )
        await asyncio.to_thread(write_private, self.layout.admin_key, f"{seeded.api_key}\n")
        return seeded.api_key, str(seeded.focus_rep_id) if seeded.focus_rep_id else None

    async def _ranked(self, api_key: str, focus_rep_id: str) -> Table | None:
        """The focus rep's ranked seats, once the scoring has settled."""
        from deploy.cli.focus_table import fetch_seats, seats_table

        deadline = time.monotonic() + RANKED_SECONDS
        before: list[str] = []
        with self.terminal.status("Ranking …"):
            while time.monotonic() < deadline:
                try:
                    seats = await fetch_seats(self.settings.base_url, api_key, focus_rep_id)
                except httpx.HTTPError as error:
                    # The product runs; only the greeting lacks its table.
                    self.terminal.say("api", f"did not give the ranking: {error}")
                    return None
                order = [seat.subject_id for seat in seats]
                if order and order == before:
                    return seats_table(seats)
                before = order
                await asyncio.sleep(1)
        self.terminal.say("scoring", f"has not settled on a ranking within {RANKED_SECONDS:.0f} s")
        return None

    def _metrics(self) -> dict[str, str]:
        ports = {"api": self.settings.port, **self.metrics_ports}
        return {name: f"http://127.0.0.1:{port}/metrics" for name, port in ports.items()}

    def _write_local_json(self) -> None:
        """Announce this run; again after each restart, as the pids have changed. Before it is ready, nothing."""
        if self.api_key is None:
            return
        facts = {
            "base_url": self.settings.base_url,
            "api_key": self.api_key,
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "metrics": self._metrics(),
            "pids": {"supervisor": os.getpid(), **self.supervisor.pids()},
        }
        write_private(self.layout.local_json, json.dumps(facts, indent=2) + "\n")


async def run_installation(settings: LocalSettings, terminal: Terminal) -> None:
    """Run until SIGINT or SIGTERM; raises `StartupError` if it cannot start."""
    stop = _stop_event()
    layout = open_layout(settings.data_dir)
    # A second run of the same directory is told so, not that the port of the first is taken.
    with exclusive(layout):
        # What a killed run announced still lies there, and its api may be finishing its last requests.
        await wait_for_port(settings.port, LAST_REQUESTS_SECONDS if layout.local_json.exists() else 0)
    async with _servers(settings, terminal) as servers:
        installation = Installation(settings, servers.layout, servers, terminal)
        try:
            await _unless(stop, installation.start())
            await stop.wait()
        except StopRequestedError:
            terminal.say("sixteen", "asked to stop before it was ready")
        finally:
            terminal.say("sixteen", "stopping")
            await installation.stop()
    terminal.say("sixteen", "stopped")


@contextlib.asynccontextmanager
async def _servers(settings: LocalSettings, terminal: Terminal) -> AsyncIterator[EmbeddedServers]:
    """Start what is embedded and check what is given."""
    if settings.database_url:
        terminal.say("postgres", f"using version {await check_database(settings.database_url)} at the given address")
    if settings.redis_url:
        terminal.say("redis", f"using version {await check_redis(settings.redis_url)} at the given address")
    async with embedded_servers(
        settings.data_dir, durable=True, postgres=not settings.database_url, redis=not settings.redis_url
    ) as servers:
        for name, server in (("postgres", servers.postgres_server), ("redis", servers.redis_server)):
            if server:
                terminal.say(name, f"started (process {server.pid})")
        yield servers


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless(stop: asyncio.Event, starting: Coroutine[object, object, None]) -> None:
    """Await `starting`; raise `StopRequestedError` if `stop` is set first."""
    task = asyncio.create_task(starting)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise StopRequestedError
        await task
    finally:
        stopping.cancel()
