"""The embedded PostgreSQL: install a cluster, start it, stop it, restart it."""

import asyncio
import shutil
import signal
from pathlib import Path

import asyncpg

from deploy.embedded.bundle import POSTGRES_MAJOR, postgres_programs
from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.layout import Layout
from deploy.embedded.privileges import can_reach, make_private
from deploy.embedded.process import Command, ServerProcess

DATABASE = "sixteen"
LOGIN_ROLE = "sixteen"
SUPERUSER = "postgres"
SOCKET = ".s.PGSQL.5432"
# Recovery after a power cut replays up to max_wal_size, which takes minutes on a slow disk.
READY_SECONDS = 300.0

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # Compiling a plan costs more than running any query this product has.
    "jit": "off",
    # After each checkpoint every page that is touched is logged whole once: writes cost a tenth more where checkpoints
    # come often.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    # A table that was empty a moment ago is planned for badly until its rows have been counted.
    "autovacuum_naptime": "20s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # Statements hold what people wrote: no log is the place for it.
    "log_min_error_statement": "panic",
    "cluster_name": "sixteen",
}
# For a cluster that is thrown away: a crash of the machine may lose it, `kill -9` of PostgreSQL may not. That is why
# synchronous_commit stays on; without fsync it costs one write into the page cache.
THROW_AWAY = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """One cluster in `layout.postgres`, reached over a socket in `sockets` only.

    `durable=False` trades safety against power cuts for speed. The socket's folder is private, so connections
    need no password; `url` is for the login role `sixteen`: no superuser, may create roles, owns the database.
    """

    def __init__(self, layout: Layout, sockets: Path, *, durable: bool) -> None:
        self.layout = layout
        self.sockets = sockets
        self.durable = durable
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{LOGIN_ROLE}@/{DATABASE}?host={self.sockets}"

    @property
    def superuser_url(self) -> str:
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={self.sockets}"

    @property
    def _maintenance_url(self) -> str:
        return f"postgresql://{SUPERUSER}@/postgres?host={self.sockets}"

    @property
    def pid(self) -> int | None:
        return self._process.process.pid if self._process and self._process.is_running else None

    async def start(self) -> None:
        """Install the cluster the first time, start it and wait until it answers."""
        if self.pid:
            return
        programs = await asyncio.to_thread(self._prepare)
        if not self.layout.postgres.exists():
            await self._install(programs)
        self._process = await ServerProcess.start(self._command(programs))
        await self._process.wait_ready(self._answers, READY_SECONDS)
        await self._ensure_database()

    async def stop(self) -> None:
        """Close connections, write everything out, end."""
        if self._process:
            await self._process.stop([signal.SIGINT, signal.SIGQUIT])

    async def kill(self) -> None:
        """End as a crash would (`kill -9`)."""
        if self._process:
            await self._process.stop([signal.SIGKILL])

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def wait(self) -> int:
        """Wait until the server ends, by itself or not; return its exit code."""
        if self._process is None:
            raise EmbeddedServerError("PostgreSQL was never started.")
        return await self._process.wait()

    def _prepare(self) -> Path:
        """Check and repair what an earlier run left; return the folder of the programs."""
        programs = postgres_programs(self.layout.user)
        cluster = self.layout.postgres
        if cluster.exists():
            if (found := cluster_major(cluster)) != str(POSTGRES_MAJOR):
                raise EmbeddedServerError(
                    f"{cluster} was made by PostgreSQL {found}, this installation ships {POSTGRES_MAJOR}: "
                    "restore a backup (sixteen restore), go back to the version that made it, "
                    "or set another SIXTEEN_DATA_DIR."
                )
            make_private(cluster, self.layout.user)
        make_private(self.sockets, self.layout.user)
        return programs

    async def _install(self, programs: Path) -> None:
        """Run initdb beside the final place and rename: a half-made cluster is never taken for one."""
        unfinished = self.layout.root / "postgres.unfinished"
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        make_private(unfinished, self.layout.user)
        argv = [
            str(programs / "initdb"),
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            # The built-in provider knows Unicode without ICU and without the machine's own locales.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--text-search-config=simple",
            "--no-instructions",
            *([] if self.durable else ["--no-sync"]),
            "-D",
            str(unfinished),
        ]
        process = await ServerProcess.start(self._as_command("initdb", argv, unfinished, signal.SIGTERM))
        if await process.wait() != 0:
            raise EmbeddedServerError(f"No cluster could be made in {unfinished}.{process.tail()}")
        await asyncio.to_thread(unfinished.rename, self.layout.postgres)

    def _command(self, programs: Path) -> Command:
        settings = {**SETTINGS, **({} if self.durable else THROW_AWAY)}
        settings["unix_socket_directories"] = str(self.sockets)
        cluster = self.layout.postgres
        argv = [str(programs / "postgres"), "-D", str(cluster)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        # SIGINT is the fast shutdown: connections are closed and everything is written out.
        return self._as_command("postgres", argv, cluster, signal.SIGINT)

    def _as_command(self, name: str, argv: list[str], folder: Path, death_signal: signal.Signals) -> Command:
        user = self.layout.user
        return Command(
            name=name,
            argv=tuple(argv),
            cwd=folder,
            log=self.layout.logs / "postgres.log",
            user=user,
            death_signal=death_signal,
            lock=self.layout.root / "postgres.lock",
            # Holding the lock proves that no server of ours runs here. PostgreSQL itself only looks whether the
            # pid in these files is alive, and after a reboot that may be anybody.
            remove=(folder / "postmaster.pid", self.sockets / SOCKET, self.sockets / f"{SOCKET}.lock"),
            through=() if can_reach(folder, user) else (folder,),
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self._maintenance_url, timeout=5)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self._maintenance_url)
        try:
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", LOGIN_ROLE):
                await connection.execute(f"CREATE ROLE {LOGIN_ROLE} LOGIN NOSUPERUSER CREATEROLE")
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {LOGIN_ROLE}")
        finally:
            await connection.close()


def cluster_major(cluster: Path) -> str:
    """The major version of PostgreSQL that made `cluster`, or "unknown"."""
    version = cluster / "PG_VERSION"
    return version.read_text().strip() if version.exists() else "unknown"
