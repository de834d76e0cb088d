"""The first data of an installation: the demo workspace, or an empty one. All of it or nothing, and only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from deploy.demo.found import found_team
from deploy.demo.plan import SEED, plan_year
from deploy.demo.record import EVENT_DAYS, Recorder
from deploy.demo.world import CURRENCY, FOCUS_REP, REPS, TIME_ZONE, WORKSPACE_NAME, first_day, local_date, moment
from services.api import resources
from services.api.api_keys.resource import API_KEYS
from services.api.auth.keys import parse_key
from services.api.fields import Currency, EmailText, Name, Strict
from services.api.settings import ApiSettings
from services.api.workspaces.schemas import TimeZone
from services.api.workspaces.service import create_workspace, issue_key
from shared.clock import Clock, SystemClock
from shared.db import Database, Tx, open_database, sql
from shared.effects import BULK, Mark
from shared.outbox import write_effects

# The workspaces that a start can make, known by their ids, so that they are found again without looking into others.
FIRST_WORKSPACE = UUID("01900000-0000-7000-8000-000000000016")
DEMO_WORKSPACE = UUID("01900000-0000-7000-8000-00000000d016")
# Any number of our own: whoever holds this lock is the one who seeds.
SEED_LOCK = 0x5158_7EE9
STATEMENT_TIMEOUT_MS = 120_000
TELL_EVERY = 100

Progress = Callable[[int, int], None]
"""Called with how many actions have been recorded, and of how many."""

TAKE_LOCK = sql("SELECT pg_advisory_xact_lock(:lock)")
FIRST_ADMIN = sql(
    "SELECT id, (SELECT id FROM sales.members WHERE workspace_id = :workspace_id AND email = :email) AS focus_rep_id"
    " FROM sales.members WHERE workspace_id = :workspace_id AND role = 'admin' AND active ORDER BY recorded_at LIMIT 1"
)
KEY = sql("SELECT * FROM sales.api_keys WHERE workspace_id = :workspace_id AND id = :id")
ENSURE_PARTITIONS = sql("SELECT events.ensure_partitions(CAST(:first AS date), CAST(:last AS date))")
# In one long transaction the tables grow from nothing while no statistics are taken: plans must look rows up one by
# one, a single plan for each statement is enough, and those made for small tables must be made again as they grow.
PLAN_FOR_GROWTH = sql(
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),"
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)
PLAN_AGAIN = sql("DISCARD PLANS")
PLAN_AGAIN_EVERY = 500


class First(Strict):
    """What a first workspace begins with beside what every workspace does."""

    name: Name = "Sixteen"
    currency: Currency = CURRENCY
    time_zone: TimeZone = TIME_ZONE
    admin_email: EmailText | None = None


@dataclass(frozen=True, slots=True)
class Seeded:
    """A key of the administrator, the rep whose 16 are worth looking at, and whether all this was made just now."""

    api_key: str
    focus_rep_id: UUID | None
    created: bool


async def seed_if_empty(
    database_url: str,
    redis_url: str,
    *,
    demo: bool,
    known_key: str | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Seeded:
    """Makes the first workspace of an installation that has none: the demo's year, or without `demo` an empty one.

    Two that start at once make one: the second waits, and finds it made. Where there is one already, `known_key` is
    given back; without it the administrator gets another key, for the first can't be read again. Nobody is nudged: the
    scoring worker's sweep finds the mark within a second.
    """
    wanted, other = (DEMO_WORKSPACE, FIRST_WORKSPACE) if demo else (FIRST_WORKSPACE, DEMO_WORKSPACE)
    database = await open_seeding(database_url, redis_url)
    try:
        for workspace_id in (wanted, other):
            async with database.transaction(workspace_id) as tx:
                if (there := await find(tx, known_key)) is not None:
                    return there
        now = (clock or SystemClock()).now()
        return await (make_demo(database, now, progress=progress) if demo else make_empty(database, now))
    finally:
        await database.close()


async def open_seeding(database_url: str, redis_url: str) -> Database:
    """The database in the api's role, patient with a long transaction."""
    settings = ApiSettings(database_url=database_url, redis_url=redis_url, embedded=True)
    return await open_database(database_url, settings.role, size=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


async def find(tx: Tx, known_key: str | None = None) -> Seeded | None:
    """The workspace of `tx` if it exists, with `known_key` if that opens it, else a new key of its administrator."""
    there = await tx.row(FIRST_ADMIN, email=REPS[0].person.email)
    if there is None:
        return None
    parsed = parse_key(known_key) if known_key else None
    if known_key is None or parsed is None or parsed.workspace_id != tx.workspace_id:
        known_key, key_id = await issue_key(tx, there["id"], "Made at start", ())
        row = await tx.row(KEY, id=key_id)
        assert row is not None  # noqa: S101 - it was made just now
        # Whoever may start the program is no member: nobody's doing, but seen by all who watch over keys.
        resources.note(tx, API_KEYS, "created", None, row)
        await write_effects(tx)
    return Seeded(known_key, there["focus_rep_id"], created=False)


async def make_empty(database: Database, now: datetime, wanted: First | None = None) -> Seeded:
    """The first workspace without anything in it but an administrator; the one there is if somebody was faster."""
    async with database.transaction(FIRST_WORKSPACE, now) as tx:
        await tx.run(TAKE_LOCK, lock=SEED_LOCK)
        if (there := await find(tx)) is not None:
            return there
        made = await create_workspace(tx, **(wanted or First()).model_dump())
        await write_effects(tx, actor_id=made.admin_id)
        return Seeded(made.api_key, None, created=True)


async def make_demo(
    database: Database,
    now: datetime,
    *,
    workspace_id: UUID | None = None,
    known_key: str | None = None,
    progress: Progress | None = None,
) -> Seeded:
    """The demo workspace with its year up to the day before `now`; the one there is if somebody was faster.

    All of it is one transaction: a crash in the middle leaves nothing.
    """
    workspace_id = workspace_id or DEMO_WORKSPACE
    await make_partitions(database, workspace_id, now)
    async with database.transaction(workspace_id, now) as tx:
        await tx.run(TAKE_LOCK, lock=SEED_LOCK)
        return await find(tx, known_key) or await plant(tx, progress=progress)


async def make_partitions(database: Database, workspace_id: UUID, now: datetime) -> None:
    """Makes room for the events of the last simulated days, in a transaction of its own: it locks the outbox."""
    today = local_date(now)
    async with database.transaction(workspace_id) as tx:
        await tx.run(TAKE_LOCK, lock=SEED_LOCK)
        if await tx.row(FIRST_ADMIN, email="") is None:
            await tx.run(ENSURE_PARTITIONS, first=today - timedelta(days=EVENT_DAYS + 1), last=today)


async def plant(tx: Tx, *, seed: int = SEED, progress: Progress | None = None) -> Seeded:
    """Makes the workspace of `tx` with the year that ends the day before `tx.now`, and marks it to be judged.

    The partitions of the events must be there (`make_partitions`). Takes about half a minute.
    """
    now = tx.now
    today = local_date(now)
    story = plan_year(today, seed)
    await tx.run(PLAN_FOR_GROWTH)
    tx.now = moment(first_day(today), -30)
    made = await create_workspace(
        tx,
        name=WORKSPACE_NAME,
        currency=CURRENCY,
        time_zone=TIME_ZONE,
        locale="zh-Hans",
        admin_name="Demo Administrator",
    )
    principals, ids = await found_team(tx, made.admin_id)
    recorder = Recorder(tx, principals, ids, ends_at=now)
    await recorder.flush(made.admin_id)
    for done, action in enumerate(story.actions):
        if done % PLAN_AGAIN_EVERY == 0:
            await tx.run(PLAN_AGAIN)
        await recorder.record(action)
        if progress is not None and done % TELL_EVERY == 0:
            progress(done, len(story.actions))
    await recorder.flush()
    tx.now = now
    tx.effects.mark(Mark("workspace", tx.workspace_id, BULK))
    await write_effects(tx)
    if progress is not None:
        progress(len(story.actions), len(story.actions))
    return Seeded(made.api_key, ids[FOCUS_REP], created=True)
