"""What keeps a process from starting is said in a sentence, with what to do, and never as a traceback."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.embedded import EmbeddedServers, embedded_servers
from migrations.upgrade import upgrade_async
from shared.schema_check import SCHEMA_REVISION
from tests.faults.installation import MODULES, environment_of, eventually, free_port

pytestmark = pytest.mark.faults

# Most of it is for a machine with much else to do: a process imports for three seconds of one core.
PATIENCE = 25.0
API = MODULES["api"]
WORKERS = pytest.mark.parametrize("module", [MODULES["api-worker"], MODULES["scoring"]])
PUBLIC_SECRET = {"SIXTEEN_EMBEDDED": "0", "SIXTEEN_SECRET_KEY": None}
NO_DATABASE = {"SIXTEEN_DATABASE_URL": "postgresql://a@127.0.0.1:1/b"}


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    """Servers of these tests alone: they change the schema's revision."""
    async with embedded_servers(tmp_path_factory.mktemp("startup"), durable=False) as made:
        await upgrade_async(made.database_url)
        yield made


@asynccontextmanager
async def process(
    servers: EmbeddedServers, module: str, **settings: str | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One process of ours; a setting that is None is left out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIXTEEN_")}
    given = {**environment_of(servers, servers.layout.root, free_port()), **settings}
    made = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env=kept | {name: value for name, value in given.items() if value is not None},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
            await made.communicate()


async def refusal(servers: EmbeddedServers, module: str, **settings: str | None) -> str:
    """What a process says that may not start."""
    started = time.monotonic()
    async with process(servers, module, **settings) as made:
        output, errors = await asyncio.wait_for(made.communicate(), PATIENCE * 2)
    said = output.decode() + errors.decode()
    assert made.returncode in {1, 2}, said
    assert "Traceback" not in said, said
    assert time.monotonic() - started < PATIENCE
    return errors.decode() or output.decode()


@asynccontextmanager
async def schema(servers: EmbeddedServers, revision: str | None) -> AsyncIterator[None]:
    """The database says that it has another schema, or none."""
    connection = await asyncpg.connect(servers.superuser_url)
    try:
        if revision is None:
            await connection.execute("ALTER TABLE public.alembic_version RENAME TO put_aside")
        else:
            await connection.execute("UPDATE public.alembic_version SET version_num = $1", revision)
        yield
        if revision is None:
            await connection.execute("ALTER TABLE public.put_aside RENAME TO alembic_version")
        else:
            await connection.execute("UPDATE public.alembic_version SET version_num = $1", SCHEMA_REVISION)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (NO_DATABASE, ("can't be reached", "SIXTEEN_DATABASE_URL")),
        ({"SIXTEEN_DATABASE_URL": "mysql://a@127.0.0.1/b"}, ("SIXTEEN_DATABASE_URL", "postgresql://")),
        ({"SIXTEEN_DATABASE_URL": None}, ("SIXTEEN_DATABASE_URL",)),
        ({"SIXTEEN_DATABASE_ROLE": "nobody_knows"}, ("nobody_knows", "python -m migrations")),
        ({"SIXTEEN_REDIS_URL": "http://127.0.0.1"}, ("SIXTEEN_REDIS_URL", "redis://")),
        ({"SIXTEEN_DATABASE_POOL": "many"}, ("SIXTEEN_DATABASE_POOL",)),
        (PUBLIC_SECRET, ("SIXTEEN_SECRET_KEY", "32 random bytes")),
    ],
    ids=["no-database", "not-postgresql", "no-address", "no-role", "not-redis", "no-number", "public-secret"],
)
async def test_a_wrong_setting_is_named(
    servers: EmbeddedServers, settings: dict[str, str | None], words: tuple[str, ...]
) -> None:
    said = await refusal(servers, API, **settings)
    assert all(word in said for word in words), said
    assert said.count("\n") <= 2, said


@pytest.mark.parametrize(
    ("revision", "words"), [(None, "none"), ("2025_01_01_0001", "2025_01_01_0001"), ("2099_01_01_0001", "newer")]
)
async def test_a_schema_of_another_version_is_refused(
    servers: EmbeddedServers, revision: str | None, words: str
) -> None:
    async with schema(servers, revision):
        said = await refusal(servers, API)
    assert words in said
    assert SCHEMA_REVISION in said
    assert "python -m migrations" in said


@WORKERS
async def test_a_worker_refuses_alike(servers: EmbeddedServers, module: str) -> None:
    assert "SIXTEEN_SECRET_KEY" in await refusal(servers, module, **PUBLIC_SECRET)
    async with schema(servers, "2025_01_01_0001"):
        assert "python -m migrations" in await refusal(servers, module)


async def test_a_taken_port_is_named(servers: EmbeddedServers) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    taken = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        said = await refusal(servers, API, SIXTEEN_PORT=str(port))
    assert said.startswith(f"Port {port} of 127.0.0.1 can't be opened")
    assert "SIXTEEN_PORT" in said


@WORKERS
async def test_a_worker_starts_without_redis_and_says_so(servers: EmbeddedServers, module: str) -> None:
    async with process(servers, module, SIXTEEN_REDIS_URL="redis://127.0.0.1:1/0") as made:
        assert made.stdout is not None

        async def line_that_says_so() -> bytes:
            line = await made.stdout.readline()
            return line if b"redis_away" in line else b""

        assert b"127.0.0.1:1" in await eventually(line_that_says_so, PATIENCE)
        assert made.returncode is None
        made.terminate()
        await asyncio.wait_for(made.communicate(), PATIENCE)
    assert made.returncode == 0
