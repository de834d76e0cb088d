"""The checks behind `sixteen doctor`. Each returns findings and never raises."""

import asyncio
import os
import platform
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.cli.connection import data_dir, local_facts
from deploy.cli.errors import CommandError
from deploy.embedded.errors import StartupError
from deploy.embedded.preflight import SERVICE_ROLES, check_database, check_redis
from migrations.upgrade import head
from shared.queue import API_QUEUE, SCORING_QUEUE
from shared.urls import check_database_url, check_redis_url, driver_url

LOCK_FILE = Path(__file__).parents[2] / "requirements.lock"
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")
LEAST_FREE_BYTES = 1_000_000_000
WORKERS = {"api-worker": API_QUEUE, "scoring": SCORING_QUEUE}
# Row-level security that is missing, or that the owner of the table escapes, on a table that has a workspace.
UNPROTECTED = """
SELECT class.oid::regclass::text
  FROM pg_class class
  JOIN pg_namespace space ON space.oid = class.relnamespace
  JOIN pg_attribute attribute ON attribute.attrelid = class.oid AND attribute.attname = 'workspace_id'
 WHERE space.nspname IN ('sales', 'scoring', 'events') AND class.relkind IN ('r', 'p') AND NOT class.relispartition
   AND NOT (class.relrowsecurity AND class.relforcerowsecurity)
 ORDER BY 1"""


class State(StrEnum):
    """How bad a finding is; only `fail` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found and what to do about it."""

    name: str
    state: State
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def ok(name: str, detail: str) -> Finding:
    return Finding(name, State.OK, detail)


def fail(name: str, detail: str, advice: str) -> Finding:
    return Finding(name, State.FAIL, detail, advice)


async def examine() -> list[Finding]:
    """All findings, in the order in which a person would look."""
    facts, local = _local()
    findings = [_python(), _packages(), _disk(), local]
    database_url = os.environ.get("SIXTEEN_DATABASE_URL") or facts.get("database_url")
    redis_url = os.environ.get("SIXTEEN_REDIS_URL") or facts.get("redis_url")
    base_url = os.environ.get("SIXTEEN_BASE_URL") or facts.get("base_url")
    api_key = os.environ.get("SIXTEEN_API_KEY") or facts.get("api_key")
    findings += await _where_known("database", database_url, _database)
    findings += await _where_known("redis", redis_url, _redis)
    findings += await _where_known("api", base_url, lambda url: _api(url, api_key))
    for name, url in facts.get("metrics", {}).items():
        findings.append(await _alive(name, url))
    return findings


async def _where_known(name: str, url: str | None, check: Callable[[str], Awaitable[list[Finding]]]) -> list[Finding]:
    if not url:
        return [fail(name, "not running", "Start everything with `make run`, or set its SIXTEEN_…_URL.")]
    try:
        return await asyncio.wait_for(check(url), 30)
    except ValueError as error:
        return [fail(name, str(error), "Correct the address.")]
    except TimeoutError:
        return [fail(name, "did not answer within 30 s", "Look at its log for what it is busy with.")]


def _python() -> Finding:
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.prefix == sys.base_prefix:
        return Finding(
            "python", State.WARN, f"{found}, not a virtual environment", "Use .venv/bin/sixteen (`make venv`)."
        )
    return ok("python", found)


def _packages() -> Finding:
    """Whether what is installed is what the lock file says. Absent ones belong to other platforms."""
    if not LOCK_FILE.exists():
        return ok("packages", "no lock file beside this installation")
    locked: dict[str, set[str]] = {}
    for line in LOCK_FILE.read_text().splitlines():
        # A package may be locked more than once, for different versions of Python.
        if match := LOCKED.match(line):
            locked.setdefault(match[1], set()).add(match[2])
    drift = []
    for name, versions in locked.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed not in versions:
            drift.append(f"{name} {installed} instead of {' or '.join(sorted(versions))}")
    if drift:
        return fail("packages", "differ from the lock: " + ", ".join(drift[:5]), "Run `make clean venv`.")
    return ok("packages", "as locked")


def _disk() -> Finding:
    folder = data_dir().absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free for {data_dir()}"
    if free < LEAST_FREE_BYTES:
        return fail("disk", detail, "Make room, or set SIXTEEN_DATA_DIR to a larger disk.")
    return ok("disk", detail)


def _local() -> tuple[dict[str, Any], Finding]:
    """The contents of `local.json` and what is to be said about it."""
    path = data_dir() / "local.json"
    try:
        facts = local_facts()
    except CommandError as error:
        return {}, fail("local.json", str(error), "Then run `sixteen doctor` again.")
    if facts is None:
        return {}, Finding("local.json", State.WARN, f"{path} is absent: nothing runs here", "Start with `make run`.")
    dead = [name for name, pid in facts.get("pids", {}).items() if not Path(f"/proc/{pid}").exists()]
    if "supervisor" in dead:
        return facts, fail("local.json", "left by a run that was killed", "Start again with `make run`.")
    if path.stat().st_mode & 0o077:
        return facts, fail("local.json", "can be read by others, and it holds a key", f"chmod 600 {path}")
    return facts, ok("local.json", f"run by process {facts.get('pids', {}).get('supervisor')}")


async def _database(url: str) -> list[Finding]:
    check_database_url(url)
    try:
        findings = [ok("database", f"PostgreSQL {await check_database(url)}")]
    except StartupError as error:
        return [fail("database", str(error), "Nothing works without it: do this first.")]
    connection = await asyncpg.connect(driver_url(url), timeout=10)
    try:
        return [*findings, await _schema(connection), await _roles(connection), await _row_security(connection)]
    except asyncpg.PostgresError as error:
        return [*findings, fail("schema", f"cannot be examined: {error}", "Run `python -m migrations`.")]
    finally:
        await connection.close()


async def _schema(connection: asyncpg.Connection) -> Finding:
    found = None
    if await connection.fetchval("SELECT to_regclass('public.alembic_version')"):
        found = await connection.fetchval("SELECT version_num FROM public.alembic_version")
    newest = head()
    if found == newest:
        return ok("schema", f"at {newest}")
    return fail("schema", f"at {found or 'nothing'}, the code wants {newest}", "Run `python -m migrations`.")


async def _roles(connection: asyncpg.Connection) -> Finding:
    rows = await connection.fetch(
        "SELECT rolname, rolsuper OR rolbypassrls AS too_much FROM pg_roles WHERE rolname = ANY ($1)",
        list(SERVICE_ROLES),
    )
    missing = set(SERVICE_ROLES) - {row["rolname"] for row in rows}
    if missing:
        return fail("roles", f"missing: {', '.join(sorted(missing))}", "Run `python -m migrations`.")
    if unsafe := [row["rolname"] for row in rows if row["too_much"]]:
        return fail("roles", f"{', '.join(unsafe)} may see every workspace", "ALTER ROLE … NOSUPERUSER NOBYPASSRLS.")
    return ok("roles", ", ".join(SERVICE_ROLES))


async def _row_security(connection: asyncpg.Connection) -> Finding:
    open_tables = [row[0] for row in await connection.fetch(UNPROTECTED)]
    if open_tables:
        return fail("row security", f"missing on {', '.join(open_tables)}", "Run `python -m migrations`.")
    return ok("row security", "forced on every table of a workspace")


async def _redis(url: str) -> list[Finding]:
    check_redis_url(url)
    try:
        findings = [ok("redis", f"version {await check_redis(url)}")]
        async with Redis.from_url(url, socket_timeout=10) as client:
            findings.append(_policy(await client.config_get("maxmemory-policy")))
            findings += [await _worker(client, name, queue) for name, queue in WORKERS.items()]
    except StartupError as error:
        return [fail("redis", str(error), "Until then rankings follow changes with a delay of seconds.")]
    except (RedisError, OSError) as error:
        return [*findings, Finding("redis", State.WARN, f"could not be examined further: {error}")]
    return findings


def _policy(settings: dict[str, str]) -> Finding:
    policy = settings.get("maxmemory-policy", "unknown")
    if policy != "noeviction":
        return fail("redis policy", f"maxmemory-policy is {policy}", "CONFIG SET maxmemory-policy noeviction")
    return ok("redis policy", policy)


async def _worker(client: Redis, name: str, queue: str) -> Finding:
    # Each process renews a key of its own every few seconds while it listens; the key expires with it.
    alive = [key async for key in client.scan_iter(match=f"{queue}:health:*", count=1000)]
    if alive:
        return ok(name, "alive" if len(alive) == 1 else f"{len(alive)} alive")
    return fail(name, "no sign of life", f"Is the process running? See {data_dir()}/logs/{name}.log")


async def _api(url: str, api_key: str | None) -> list[Finding]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
            ready = await client.get("/readyz")
            me = await client.get("/v1/me", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [fail("api", f"{url} cannot be reached ({error})", "Start it with `make run`, or see its log.")]
    if ready.status_code != 200:
        return [fail("api", f"not ready: {ready.text[:200]}", f"See {data_dir()}/logs/api.log")]
    findings = [ok("api", f"ready at {url}")]
    if not api_key:
        none = Finding("api key", State.WARN, "none given", "Set SIXTEEN_API_KEY; `sixteen init` makes one.")
        findings.append(none)
    elif me.status_code != 200:
        findings.append(fail("api key", f"refused ({me.status_code})", "Set SIXTEEN_API_KEY, or run `make run` again."))
    else:
        findings.append(ok("api key", "accepted"))
    return findings


async def _alive(name: str, metrics_url: str) -> Finding:
    """Whether the loop of a process on this machine turns; /livez stands beside /metrics."""
    log = f"See {data_dir()}/logs/{name}.log"
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            answer = await client.get(httpx.URL(metrics_url).join("/livez"))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return fail(f"{name} loop", f"{metrics_url} cannot be reached ({error})", log)
    if answer.status_code != 200:
        return fail(f"{name} loop", f"stands still: {answer.text.strip()[:200]}", log)
    return ok(f"{name} loop", f"turns; its metrics are at {metrics_url}")
