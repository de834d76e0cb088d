"""The embedded Redis (or Valkey): a nudge and a cache, so losing it costs milliseconds and nothing else."""

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.embedded.bundle import redis_program
from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.layout import Layout
from deploy.embedded.privileges import make_private
from deploy.embedded.process import Command, ServerProcess

READY_SECONDS = 60.0


class RedisServer:
    """One Redis with its append-only file in `layout.redis`, reached over a socket in `sockets` only."""

    def __init__(self, layout: Layout, sockets: Path, *, durable: bool) -> None:
        self.layout = layout
        self.socket = sockets / "redis.sock"
        self.durable = durable
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        return self._process.process.pid if self._process and self._process.is_running else None

    async def start(self) -> None:
        """Start and wait until it answers; a file it cannot read is set aside, as nothing in it is unique."""
        if self.pid:
            return
        self._prepare()
        try:
            await self._start_once()
        except EmbeddedServerError:
            if not await asyncio.to_thread(self._set_aside):
                raise
            await self._start_once()

    async def stop(self) -> None:
        if self._process:
            await self._process.stop([signal.SIGTERM])

    async def kill(self) -> None:
        """End as a crash would (`kill -9`)."""
        if self._process:
            await self._process.stop([signal.SIGKILL])

    async def restart(self, *, empty: bool = False) -> None:
        """Stop and start; with `empty`, everything it held is gone, as after a lost disk."""
        await self.stop()
        if empty:
            await asyncio.to_thread(self._erase)
        await self.start()

    async def wait(self) -> int:
        """Wait until the server ends, by itself or not; return its exit code."""
        if self._process is None:
            raise EmbeddedServerError("Redis was never started.")
        return await self._process.wait()

    def _prepare(self) -> None:
        make_private(self.socket.parent, self.layout.user)
        make_private(self.layout.redis, self.layout.user)

    async def _start_once(self) -> None:
        self._process = await ServerProcess.start(self._command())
        await self._process.wait_ready(self._answers, READY_SECONDS)

    def _command(self) -> Command:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            # The working directory is entered before root is dropped, so its path need not be walkable.
            "dir": ".",
            "appendonly": "yes",
            "appendfsync": "everysec" if self.durable else "no",
            "save": "",
            # A queue must refuse work it has no room for, never drop what it accepted.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [str(redis_program())]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Command(
            name="redis",
            argv=tuple(argv),
            cwd=self.layout.redis,
            log=self.layout.logs / "redis.log",
            user=self.layout.user,
            death_signal=signal.SIGTERM,
            lock=self.layout.root / "redis.lock",
            remove=(self.socket,),
        )

    async def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        client = Redis(unix_socket_path=str(self.socket))
        with contextlib.suppress(RedisError, OSError):
            async with client:
                return bool(await client.ping())
        return False

    def _set_aside(self) -> bool:
        files = [path for path in self.layout.redis.iterdir() if path.name.startswith("appendonly")]
        if not files:
            return False
        unreadable = self.layout.root / "redis.unreadable"
        shutil.rmtree(unreadable, ignore_errors=True)
        self.layout.redis.rename(unreadable)
        self._prepare()
        return True

    def _erase(self) -> None:
        shutil.rmtree(self.layout.redis, ignore_errors=True)
        self._prepare()
