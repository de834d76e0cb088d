"""A workspace for tests of the scoring service, filled with plain SQL in the api's role."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.scoring.jobs.drain import Context, Outcome, drain
from services.scoring.settings import ScoringSettings
from shared.clock import FixedClock
from shared.db import Database, open_database
from shared.ids import new_id

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
FACT = {"occurred_at": NOW, "recorded_at": NOW, "updated_at": NOW}


@dataclass
class World:
    """One workspace: `api` writes its facts, `context` scores them at the time its clock says."""

    api: Database
    context: Context
    clock: FixedClock
    id: UUID = field(default_factory=new_id)
    process_id: UUID = field(default_factory=new_id)
    stages: list[UUID] = field(default_factory=list)

    async def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Inserts rows, all with the same columns."""
        names = list(rows[0])
        columns = ", ".join(["workspace_id", *names])
        values = ", ".join(f"${place}" for place in range(1, len(names) + 2))
        async with self.api.transaction(self.id) as tx:
            await tx.connection.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({values})", [(self.id, *row.values()) for row in rows]
            )

    async def write(self, statement: str, *values: Any) -> None:
        """Runs a statement in the api's role; $1 is the workspace."""
        async with self.api.transaction(self.id) as tx:
            await tx.connection.execute(statement, self.id, *values)

    async def read(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Reads in the api's role; $1 is the workspace."""
        async with self.api.transaction(self.id) as tx:
            return await tx.connection.fetch(query, self.id, *values)

    async def found(self, policy: dict[str, Any] | None = None, zone: str = "UTC") -> None:
        """Creates the workspace: a process of three stages, of which the last wins."""
        async with self.api.transaction(self.id) as tx:
            await tx.connection.execute(
                "SELECT events.ensure_partitions($1, $2)", NOW.date(), NOW.date() + timedelta(days=60)
            )
            await tx.connection.execute(
                "INSERT INTO sales.workspaces (id, name, currency, time_zone, recorded_at, updated_at)"
                " VALUES ($1, 'Test', 'CNY', $2, $3, $3)",
                self.id,
                zone,
                NOW,
            )
        await self.insert("sales.policies", [{"id": self.id, "document": policy or {}, **FACT}])
        await self.insert(
            "sales.processes", [{"id": self.process_id, "key": "p", "name_en": "P", "is_default": True, **FACT}]
        )
        self.stages = [new_id() for _ in range(3)]
        await self.insert(
            "sales.stages",
            [
                {
                    "id": stage, "process_id": self.process_id, "position": place, "key": f"s{place}", "name_en": "S",
                    "milestone_en": "M", "irreversible": False, "wins": place == 2, "skippable": True,
                    "typical_days": 10.0, "typical_hours": 8.0, "base_win_rate": 0.5,
                    "evidences_class": ("A", "C", "C")[place],
                }
                for place, stage in enumerate(self.stages)
            ],
        )  # fmt: skip

    async def member(self, **values: Any) -> UUID:
        """A rep."""
        key = new_id()
        await self.insert("sales.members", [{"id": key, "name": "Rep", "role": "rep", **FACT, **values}])
        return key

    async def customer(self, owner: UUID | None, **values: Any) -> UUID:
        """A customer."""
        key = new_id()
        await self.insert(
            "sales.customers", [{"id": key, "name": "C", "sort_key": "c", "owner_id": owner, **FACT, **values}]
        )
        return key

    async def opportunities(
        self, owner: UUID | None, count: int, *, customer: UUID | None = None, seed: int = 0, **values: Any
    ) -> list[UUID]:
        """Opportunities in the first stage with everything about money and dates known, of one customer."""
        chance = random.Random(seed)
        customer = customer or await self.customer(owner)
        rows = [
            {
                "id": new_id(), "name": "O", "sort_key": "o", "customer_id": customer, "process_id": self.process_id,
                "stage_id": self.stages[0], "stage_entered_at": NOW, "owner_id": owner,
                "amount": chance.randrange(1_000, 100_000), "currency": "CNY", "margin_rate": 0.3,
                "cost_to_deliver": 0, "delivery_risk": 0.0, "payment_risk": 0.0,
                "purchase_date": date(2026, 4, 1) + timedelta(days=chance.randrange(90)), **FACT, **values,
            }
            for _ in range(count)
        ]  # fmt: skip
        await self.insert("sales.opportunities", rows)
        return [row["id"] for row in rows]

    async def move(self, opportunity: UUID, action: str, stage: int | None = None) -> None:
        """A transition, and the mark that a request would leave."""
        await self.insert(
            "sales.transitions",
            [
                {
                    "id": new_id(), "opportunity_id": opportunity, "action": action,
                    "stage_id": None if stage is None else self.stages[stage], "reason": "because",
                    "occurred_at": self.clock.now(), "recorded_at": self.clock.now(),
                }
            ],
        )  # fmt: skip
        kind = {"lose": "opportunity.lost", "pass": "opportunity.passed"}[action]
        await self.mark("opportunity", opportunity, event=kind)

    async def mark(self, kind: str, *subjects: UUID, lane: int = 0, event: str | None = None) -> None:
        """Marks subjects as a request does; of the workspace itself when none is given."""
        subjects = subjects or (self.id,)
        cause = {"type": event, "event_id": str(new_id()), "request_id": "request-1"} if event else {}
        await self.write(
            "INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)"
            " SELECT $1, $2, s, $4, $5::jsonb || jsonb_build_object('subject_type', $2::text, 'subject_id', s), now()"
            " FROM unnest($3::uuid[]) s ORDER BY s"
            " ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE"
            " SET version = excluded.version, lane = least(d.lane, excluded.lane), cause = excluded.cause",
            kind,
            list(subjects),
            lane,
            cause,
        )

    async def marks(self) -> list[tuple[str, UUID]]:
        """What is marked."""
        rows = await self.read("SELECT subject_type, subject_id FROM scoring.dirty_marks WHERE workspace_id = $1")
        return [(row["subject_type"], row["subject_id"]) for row in rows]

    async def drain(self) -> list[Outcome]:
        """Drains this workspace until nothing is due."""
        outcomes = []
        while not (outcome := await drain(self.context, self.id)).idle:
            outcomes.append(outcome)
        return outcomes

    async def seats(self, owner: UUID) -> dict[UUID, tuple[str, int]]:
        """Band and rank of each subject of an owner."""
        rows = await self.read(
            "SELECT subject_id, band, rank FROM scoring.seats WHERE workspace_id = $1 AND owner_id = $2 ORDER BY rank",
            owner,
        )
        return {row["subject_id"]: (row["band"], row["rank"]) for row in rows}

    async def band(self, owner: UUID, band: str) -> list[UUID]:
        """The subjects in one band, by rank."""
        return [subject for subject, (held, _) in (await self.seats(owner)).items() if held == band]

    async def moves(self, subject: UUID | None = None) -> list[asyncpg.Record]:
        """Moves in order, of one subject or of all."""
        return await self.read(
            "SELECT * FROM scoring.moves WHERE workspace_id = $1 AND ($2::uuid IS NULL OR subject_id = $2) ORDER BY id",
            subject,
        )

    async def judged(self) -> list[dict[str, Any]]:
        """All scores and seats, without the times of judging: what must not depend on the way there."""
        scores = await self.read(
            "SELECT opportunity_id AS id, owner_id, probability, probability_low, probability_high, priority, margin,"
            " urgency, slack_days, hours, class_code, flags, unknowns, imputed, criteria::text, parts::text,"
            " contributions::text, next_due_at FROM scoring.scores WHERE workspace_id = $1 ORDER BY 1"
        )
        seats = await self.read(
            "SELECT subject_id AS id, subject_type, owner_id, band, rank, class_code, priority, slack_days"
            " FROM scoring.seats WHERE workspace_id = $1 ORDER BY 1"
        )
        return [dict(row) for row in (*scores, *seats)]


async def open_world(database_url: str, redis_url: str, **settings: Any) -> World:
    """A new workspace without facts; close its `api` and `context.database` afterwards."""
    made = ScoringSettings(database_url=database_url, redis_url=redis_url, embedded=True, **settings)
    clock = FixedClock(NOW)
    scoring = await open_database(database_url, "sixteen_scoring", size=3)
    return World(await open_database(database_url, "sixteen_api", size=3), Context(scoring, made, clock), clock)
