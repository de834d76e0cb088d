"""An opportunity's whole life, by random walk: the application and the database against a model in plain Python.

Two workspaces live at once. After each step everything stored is compared with what the model says, and the stage is
derived once more from the history, by SQL that shares nothing with the trigger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.clock import FixedClock, SystemClock
from shared.db import connect_arguments
from shared.ids import new_id
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.lifecycle import FORBIDDEN, NOT_FOUND, Actor, ModelOpportunity, ModelStage, Outcome

T = TypeVar("T")
# Long enough ago that nothing recorded then can be voided now.
LONG_AGO = timedelta(hours=49)

STORED = """
SELECT o.status, o.stage_position, o.stage_id, o.version, o.name, o.owner_id, o.deleted_at IS NOT NULL AS deleted,
  o.won_at IS NOT NULL AS has_won_at, o.closed_at IS NOT NULL AS has_closed_at,
  o.completed_at IS NOT NULL AS completed
FROM sales.opportunities o WHERE o.workspace_id = $1 AND o.id = $2
"""
HISTORY = """
SELECT t.*, s.position, s.irreversible, s.wins, p.recorded_at AS passage_recorded_at
FROM sales.transitions t
LEFT JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id
LEFT JOIN sales.transitions p ON p.workspace_id = t.workspace_id AND p.id = t.passage_id
WHERE t.workspace_id = $1 AND t.opportunity_id = $2 ORDER BY t.id
"""
DERIVED = """
SELECT coalesce(max(s.position) + 1, 0) AS position, coalesce(bool_or(s.wins), false) AS won
FROM sales.transitions t JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id
WHERE t.workspace_id = $1 AND t.opportunity_id = $2 AND t.action = 'pass'
  AND t.id NOT IN (SELECT passage_id FROM sales.transitions WHERE workspace_id = $1 AND passage_id IS NOT NULL)
"""
BY_HAND = {
    "status": "UPDATE sales.opportunities SET status = 'won' WHERE id = $1",
    "stage": "UPDATE sales.opportunities SET stage_position = 0 WHERE id = $1",
    "delete": "DELETE FROM sales.opportunities WHERE id = $1",
    "unwrite": "DELETE FROM sales.transitions WHERE opportunity_id = $1",
    "rewrite": "UPDATE sales.transitions SET action = 'pass' WHERE opportunity_id = $1",
    "back_over": """
        INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, occurred_at,
          recorded_at)
        SELECT t.workspace_id, $2, t.opportunity_id, 'back', t.stage_id, t.id, now(), now()
        FROM sales.transitions t JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id
        WHERE t.opportunity_id = $1 AND t.action = 'pass' AND s.irreversible ORDER BY t.id DESC LIMIT 1
    """,
    "void_late": """
        INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, reason,
          occurred_at, recorded_at)
        SELECT workspace_id, $2, opportunity_id, 'void', stage_id, id, 'late', now(), now()
        FROM sales.transitions WHERE opportunity_id = $1 AND action = 'pass'
          AND recorded_at < now() - interval '24 hours' LIMIT 1
    """,
    "two_wins": """
        INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, occurred_at, recorded_at)
        SELECT t.workspace_id, $2, t.opportunity_id, 'pass', t.stage_id, now(), now()
        FROM sales.transitions t WHERE t.opportunity_id = $1 AND t.action = 'pass' AND t.id NOT IN
          (SELECT passage_id FROM sales.transitions WHERE passage_id IS NOT NULL) LIMIT 1
    """,
}

REFUSALS = {"42501", "SX004", "SX005", "SX006", "SX008", "SX010", "23505"}


@dataclass
class World:
    """One workspace: who calls there, and the opportunities of the present walk."""

    admin: Caller
    callers: dict[str, Caller]
    actors: dict[str, Actor]
    made: list[ModelOpportunity] = field(default_factory=list)


@dataclass
class Stage:
    """What all walks share: the loop the application runs in, both worlds, a connection past the application."""

    loop: asyncio.AbstractEventLoop
    worlds: tuple[World, World]
    database: asyncpg.Connection
    as_api: asyncpg.Connection


async def make_world(admin: Caller) -> World:
    rep, mate, stranger = [await admin.member("rep") for _ in range(3)]
    manager = await admin.manager_of(rep, mate)
    callers = {"admin": admin, "rep": rep, "mate": mate, "stranger": stranger, "manager": manager}
    callers["viewer"] = await admin.member("viewer")
    team = frozenset((manager.member_id, rep.member_id, mate.member_id))
    roles = {"admin": "admin", "manager": "manager", "viewer": "viewer"}
    actors = {
        name: Actor(name, roles.get(name, "rep"), caller.member_id, team if name == "manager" else frozenset())
        for name, caller in callers.items()
    }
    return World(admin, callers, actors)


async def make_process(admin: Caller, flags: list[tuple[bool, bool]], wins: int) -> tuple[str, list[ModelStage]]:
    stages = [
        {
            "key": f"s{n}", "name": {"en": f"S{n}"}, "milestone": {"en": f"M{n}"}, "irreversible": irreversible,
            "skippable": skippable and n != wins, "wins": n == wins, "typical_days": 5, "typical_hours": 2,
            "base_win_rate": 0.5,
        }
        for n, (irreversible, skippable) in enumerate(flags)
    ]  # fmt: skip
    body = {"key": f"walk_{new_id().hex}", "name": {"en": "Walk"}, "stages": stages}
    made = await admin.ok("POST", "/v1/processes", body)
    return made["id"], [ModelStage(s["id"], s["irreversible"], s["skippable"], s["wins"]) for s in made["stages"]]


# Mostly those who may, so that walks get far.
ACTORS = st.sampled_from(["admin", "rep", "admin", "manager", "admin", "rep", "manager", "mate", "stranger", "viewer"])
PLACES = st.one_of(st.none(), st.none(), st.integers(0, 5))
REASONS = st.sampled_from(["price", "price", "price", "no such thing", None])
SELDOM = st.sampled_from([False] * 5 + [True])
WHICH = st.integers(0, 1)


class Life(RuleBasedStateMachine):
    """Random steps in both worlds; `given` is set by the test that runs it."""

    given: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.past = True
        self._set_clock()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.given.loop).result(30)

    def _set_clock(self) -> None:
        """In the past the application lives by a clock of its own; the database always knows the real time."""
        self.now = datetime.now(UTC) - (LONG_AGO if self.past else timedelta())
        clock = FixedClock(self.now) if self.past else SystemClock()
        for world in self.given.worlds:
            world.admin.state.clock = clock

    def teardown(self) -> None:
        for world in self.given.worlds:
            world.admin.state.clock = SystemClock()

    @initialize(
        flags=st.tuples(*[st.lists(st.tuples(SELDOM, st.booleans()), min_size=3, max_size=6)] * 2),
        wins=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    )
    def begin(self, flags: tuple[Any, Any], wins: tuple[int, int]) -> None:
        for world, flag, win in zip(self.given.worlds, flags, wins, strict=True):
            process_id, stages = self.wait(make_process(world.admin, flag, win % len(flag)))
            rep = world.actors["rep"]
            made = self.wait(world.callers["rep"].make_opportunity(name="Walk", process_id=process_id))
            world.made = [ModelOpportunity(made["id"], stages, rep.member_id, "Walk")]

    def model(self, which: int) -> tuple[World, ModelOpportunity]:
        world = self.given.worlds[which]
        return world, world.made[0]

    def call(self, world: World, actor: str, method: str, path: str, body: Any, expected: Outcome, stale: bool) -> None:
        headers = {"If-Match": '"999999"'} if stale else {}
        response = self.wait(world.callers[actor].request(method, path, json=body, headers=headers))
        got = Outcome(response.status_code, None if response.is_success else response.json()["code"])
        if expected.ok:
            assert response.is_success, f"{method} {path} {body} as {actor}: {response.text}"
        else:
            assert got == expected, f"{method} {path} {body} as {actor}: {response.text}"

    def transition(
        self, which: int, actor: str, body: dict[str, Any], stale: bool, batch: bool, expected: Outcome
    ) -> None:
        world, model = self.model(which)
        body = {name: value for name, value in body.items() if value is not None}
        if not batch:
            self.call(world, actor, "POST", f"/v1/opportunities/{model.id}/transitions", body, expected, stale)
            return
        operation = {"kind": "transition", "id": model.id, "body": body}
        operation |= {"if_match": '"999999"'} if stale else {}
        self.call(world, actor, "POST", "/v1/opportunities:batch", {"operations": [operation]}, expected, False)

    def before(self, which: int, actor: str, stale: bool) -> tuple[ModelOpportunity, Actor, Outcome | None]:
        world, model = self.model(which)
        who = world.actors[actor]
        refused = FORBIDDEN if who.role == "viewer" else model.reachable(who, stale)
        return model, who, refused

    @rule(which=WHICH, actor=ACTORS, place=PLACES, stale=SELDOM, batch=st.booleans())
    def passes(self, which: int, actor: str, place: int | None, stale: bool, batch: bool) -> None:
        model, _, refused = self.before(which, actor, stale)
        target = None if place is None else place % len(model.stages)
        body = {"action": "pass", "stage_id": None if target is None else model.stages[target].id}
        self._set_clock()
        self.transition(which, actor, body, stale, batch, refused or model.passed(target, self.now))

    @rule(which=WHICH, times=st.integers(1, 4), returns=st.booleans(), batch=st.booleans())
    def goes_far(self, which: int, times: int, returns: bool, batch: bool) -> None:
        """The most usual course of all, so that walks get far."""
        for _ in range(times):
            self.passes(which, "admin", None, False, batch)
        if returns:
            self.goes_back(which, "admin", None, False, batch)

    @rule(which=WHICH, actor=ACTORS, place=PLACES, stale=SELDOM, batch=st.booleans())
    def goes_back(self, which: int, actor: str, place: int | None, stale: bool, batch: bool) -> None:
        model, _, refused = self.before(which, actor, stale)
        target = None if place is None else place % len(model.stages)
        body = {"action": "back", "to_stage_id": None if target is None else model.stages[target].id}
        self.transition(which, actor, body, stale, batch, refused or model.back(target))

    @rule(which=WHICH, actor=st.sampled_from(["admin", "manager", "rep"]), reason=REASONS, batch=st.booleans())
    def voids(self, which: int, actor: str, reason: str | None, batch: bool) -> None:
        model, who, refused = self.before(which, actor, False)
        self._set_clock()
        # The database goes by the real time, whatever clock the application is given.
        expected = refused or model.voided(who, reason, datetime.now(UTC))
        self.transition(which, actor, {"action": "void", "reason": reason}, False, batch, expected)

    @rule(
        which=WHICH,
        actor=ACTORS,
        action=st.sampled_from(["lose", "abandon"]),
        reason=REASONS,
        again=st.booleans(),
    )
    def closes(self, which: int, actor: str, action: str, reason: str | None, again: bool) -> None:
        model, _, refused = self.before(which, actor, False)
        expected = refused or model.closed(action, reason)
        self.transition(which, actor, {"action": action, "reason": reason}, False, again, expected)
        if again:
            self.reopens(which, "admin", True)

    @rule(which=WHICH, actor=ACTORS, batch=st.booleans())
    def reopens(self, which: int, actor: str, batch: bool) -> None:
        model, _, refused = self.before(which, actor, False)
        self.transition(which, actor, {"action": "reopen"}, False, batch, refused or model.reopened())

    @rule(which=WHICH, actor=ACTORS, reason=REASONS)
    def cancels(self, which: int, actor: str, reason: str | None) -> None:
        model, who, refused = self.before(which, actor, False)
        expected = refused or model.cancelled(who, reason)
        self.transition(which, actor, {"action": "cancel", "reason": reason}, False, False, expected)

    @rule(which=WHICH, actor=ACTORS, name=st.sampled_from(["Walk", "Stroll"]), stale=st.booleans())
    def renames(self, which: int, actor: str, name: str, stale: bool) -> None:
        model, _, refused = self.before(which, actor, stale)
        if refused is None and name != model.name:
            model.name, model.version = name, model.version + 1
        world = self.given.worlds[which]
        self.call(
            world, actor, "PATCH", f"/v1/opportunities/{model.id}", {"name": name}, refused or Outcome(200), stale
        )

    @rule(which=WHICH, actor=ACTORS, action=st.sampled_from(["pass", "back", "void", "lose", "reopen", "cancel"]))
    def is_deleted_and_restored(self, which: int, actor: str, action: str) -> None:
        """While it is deleted nothing moves it, whoever tries."""
        model, _, refused = self.before(which, actor, False)
        world = self.given.worlds[which]
        if refused is None:
            model.deleted, model.version = True, model.version + 1
        self.call(world, actor, "DELETE", f"/v1/opportunities/{model.id}", None, refused or Outcome(204), False)
        if refused is not None:
            return
        self.what_is_stored_is_what_the_model_says()
        body = {"action": action, "reason": "price"}
        self.transition(which, "admin", body, False, False, NOT_FOUND)
        for _ in range(2):
            if model.deleted:
                model.deleted, model.version = False, model.version + 1
            self.call(world, actor, "POST", f"/v1/opportunities/{model.id}:restore", None, Outcome(200), False)

    @rule(which=WHICH, actor=ACTORS, to=st.sampled_from(["rep", "rep", "mate", None, "stranger"]))
    def is_handed_over(self, which: int, actor: str, to: str | None) -> None:
        model, who, refused = self.before(which, actor, False)
        if refused is not FORBIDDEN and who.role == "rep":
            refused = FORBIDDEN
        world = self.given.worlds[which]
        owner = None if to is None else world.actors[to].member_id
        if refused is None and owner != model.owner:
            model.owner, model.version = owner, model.version + 1
        body = {"owner_id": None if owner is None else str(owner), "reason": "a better fit"}
        path = f"/v1/opportunities/{model.id}:reassign"
        self.call(world, actor, "POST", path, body, refused or Outcome(200), False)

    @rule(which=WHICH, action=st.sampled_from(["pass", "back", "lose", "reopen"]))
    def is_tried_from_the_other_workspace(self, which: int, action: str) -> None:
        _, model = self.model(which)
        path = f"/v1/opportunities/{model.id}/transitions"
        self.call(self.given.worlds[1 - which], "admin", "POST", path, {"action": action}, NOT_FOUND, False)

    @rule(which=WHICH, how=st.sampled_from(sorted(BY_HAND)))
    def is_tampered_with_by_hand(self, which: int, how: str) -> None:
        world, model = self.model(which)
        self.wait(self._by_hand(world, model, how))

    async def _by_hand(self, world: World, model: ModelOpportunity, how: str) -> None:
        """What a hand at psql could try in the api's name: it is refused, or finds no row to begin with."""
        statement = BY_HAND[how]
        arguments = [model.id, new_id()][: 1 + ("$2" in statement)]
        workspace = str(world.admin.workspace_id)
        refusal = ""
        try:
            async with self.given.as_api.transaction():
                await self.given.as_api.execute("SELECT set_config('app.workspace_id', $1, true)", workspace)
                done = await self.given.as_api.execute(statement, *arguments)
        except asyncpg.PostgresError as refused:
            done, refusal = "", refused.sqlstate or "unknown"
        assert done.endswith(" 0") or refusal in REFUSALS, f"{how}: {done or refusal}"

    @precondition(lambda self: self.past)
    @rule()
    def two_days_pass(self) -> None:
        self.past = False
        self._set_clock()

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        for world in self.given.worlds:
            for model in world.made:
                self.wait(self._compare(world, model))

    async def _compare(self, world: World, model: ModelOpportunity) -> None:
        key = (world.admin.workspace_id, model.id)
        stored = await self.given.database.fetchrow(STORED, *key)
        derived = await self.given.database.fetchrow(DERIVED, *key)
        history = [dict(row) for row in await self.given.database.fetch(HISTORY, *key)]
        assert stored is not None
        assert derived is not None
        assert dict(stored) == {
            "status": model.status,
            "stage_position": model.position,
            "stage_id": stored["stage_id"] if model.stage_id else None,
            "version": model.version,
            "name": model.name,
            "owner_id": model.owner,
            "deleted": model.deleted,
            "has_won_at": model.status in {"won", "cancelled"},
            "has_closed_at": model.status != "open",
            "completed": model.status == "won" and model.stage_id is None,
        }
        assert model.stage_id is None or str(stored["stage_id"]) == model.stage_id
        assert stored["stage_position"] == derived["position"]
        assert (stored["status"] in {"won", "cancelled"}) == derived["won"]
        before = self.seen.get(model.id, [])
        assert history[: len(before)] == before, "a row of the history has changed"
        assert len(history) == model.rows
        self.seen[model.id] = history
        for row in history:
            if row["action"] == "back":
                assert not row["irreversible"]
            if row["action"] == "void":
                assert row["recorded_at"] - row["passage_recorded_at"] <= timedelta(hours=24)


async def test_a_life_is_as_the_model_says(admin: Caller, other: Caller, servers: Servers) -> None:
    database = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_guard"))
    as_api = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_api"))
    try:
        await as_api.execute("SELECT events.ensure_partitions(current_date - 4, current_date)")
        worlds = (await make_world(admin), await make_world(other))
        Life.given = Stage(asyncio.get_running_loop(), worlds, database, as_api)
        bounds = settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        await asyncio.to_thread(run_state_machine_as_test, Life, settings=bounds)
    finally:
        await database.close()
        await as_api.close()
