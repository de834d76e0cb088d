"""Writing outcomes as they come in: gathered for a moment, then a transaction for each workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import asyncpg
import structlog

from services.api.delivery import claims, ledger
from services.api.delivery.claims import Claimed
from services.api.delivery.lanes import Line
from services.api.delivery.outcomes import Health, Outcome
from services.api.jobs.outages import OUTAGES
from shared.clock import Clock
from shared.db import Database
from shared.outbox import write_effects

log = structlog.get_logger(__name__)

_GATHER_SECONDS: Final = 0.005
_AT_ONCE: Final = 500
_AGAIN_SECONDS: Final = 5.0

Ended = list[tuple[Line | None, Outcome]]


def _nobody(_: UUID) -> None:
    """Nobody waits for events."""


def _nothing() -> None:
    """Nobody watches."""


class Learner(Protocol):
    """Who acts on what was written."""

    def learn(self, line: Line, health: Health) -> None: ...

    def settled(self, line: Line) -> None: ...

    def later(self, workspace_id: UUID, endpoint_id: UUID, at: datetime) -> None: ...


class Recorder:
    """Keeps outcomes until they are written. `told` is called after a commit that left events in a workspace."""

    def __init__(self, database: Database, clock: Clock, learner: Learner) -> None:
        self._database = database
        self._clock = clock
        self._learner = learner
        self._ended: Ended = []
        self._back: list[Claimed] = []
        self.wake = asyncio.Event()
        self.told: Callable[[UUID], None] = _nobody
        # Called with every batch: there may be no end of them for a while.
        self.beat: Callable[[], None] = _nothing

    def add(self, line: Line | None, outcome: Outcome) -> None:
        """An outcome, of an endpoint that has a line here or of one that is gone."""
        if line is not None:
            line.unsettled += 1
        self._ended.append((line, outcome))
        self.wake.set()

    def give_back(self, claimed: Iterable[Claimed]) -> None:
        """Deliveries that are not tried now after all."""
        self._back.extend(claimed)
        self.wake.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be written."""
        return not (self._ended or self._back or self.wake.is_set())

    async def work(self) -> None:
        """Writes all there is. What can't be written stays, and holds up no other workspace; raises outages."""
        await asyncio.sleep(_GATHER_SECONDS)
        outage = await self._release()
        kept: Ended = []
        try:
            while self._ended:
                self.beat()
                outage = await self._write(kept) or outage
        finally:
            self._ended = kept + self._ended
        if outage is not None:
            raise outage
        if kept or self._back:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self.wake.set)

    async def _release(self) -> BaseException | None:
        """Gives back what is to be given back; the outage that was met."""
        back, self._back = self._back, []
        try:
            await claims.release(self._database, back)
        except BaseException as error:
            self._back = back + self._back
            if not isinstance(error, Exception):
                raise
            log.warning("release_failed", exc_info=error)
            return error if isinstance(error, OUTAGES) else None
        return None

    async def _write(self, kept: Ended) -> BaseException | None:
        """Writes so many at once, and adds to `kept` what can't be written; the outage that was met."""
        outage: BaseException | None = None
        taken, self._ended = self._ended[:_AT_ONCE], self._ended[_AT_ONCE:]
        by_workspace: dict[UUID, Ended] = {}
        for each in taken:
            by_workspace.setdefault(each[1].claimed.workspace_id, []).append(each)
        while by_workspace:
            workspace_id, ended = next(iter(by_workspace.items()))
            try:
                try:
                    await self._settle(workspace_id, ended)
                except asyncpg.DataError as error:
                    await self._one_by_one(workspace_id, ended, error)
            except Exception as error:
                kept += ended
                log.warning("outcomes_failed", workspace_id=str(workspace_id), exc_info=error)
                if isinstance(error, OUTAGES):
                    outage = outage or error
            except BaseException:
                self._ended = [each for group in by_workspace.values() for each in group] + self._ended
                raise
            del by_workspace[workspace_id]
        return outage

    async def _one_by_one(self, workspace_id: UUID, ended: Ended, error: asyncpg.DataError) -> None:
        """Something a receiver said can't be stored: what is left of it is that it was said.

        Takes out of `ended` what is written: should one fail, only the rest comes again.
        """
        log.warning("delivery_unstorable", workspace_id=str(workspace_id), error=str(error))
        while ended:
            line, outcome = ended[0]
            bare = outcome.answer and replace(outcome.answer, headers={}, body=b"", error=None)
            plain = replace(outcome, answer=bare, error=outcome.error and "It can't be shown.", request_headers={})
            await self._settle(workspace_id, [(line, plain)])
            del ended[0]

    async def _settle(self, workspace_id: UUID, ended: Ended) -> None:
        now = self._clock.now()
        outcomes = [outcome for _, outcome in ended]
        lines = {line.endpoint.id: line for line, _ in ended if line is not None}
        news, quiet = _sorted(lines, outcomes, now)
        healths: dict[UUID, Health] = {}
        async with self._database.transaction(workspace_id, now, durable=False) as tx:
            # Whoever deletes an endpoint locks in this order too.
            known = await ledger.hold_health(tx, news) if news else {}
            held = await ledger.settle(tx, outcomes)
            if news:
                unnoted = {id_: line.unnoted for id_, line in lines.items()}
                healths = await ledger.keep_health(tx, news, unnoted, known)
            has_events = bool(tx.effects.events)
            await write_effects(tx)
        if held < len(outcomes):
            log.info("deliveries_taken_over", workspace_id=str(workspace_id), count=len(outcomes) - held)
        for line, _ in ended:
            if line is not None:
                line.unsettled -= 1
        for endpoint_id, count in quiet.items():
            lines[endpoint_id].unnoted += count
        for endpoint_id, health in healths.items():
            if endpoint_id in lines:
                self._learner.learn(lines[endpoint_id], health)
        for line in lines.values():
            self._learner.settled(line)
        for each in outcomes:
            if each.next_attempt_at is not None:
                self._learner.later(workspace_id, each.claimed.endpoint_id, each.next_attempt_at)
        if has_events:
            self.told(workspace_id)


def _sorted(
    lines: Mapping[UUID, Line], outcomes: Iterable[Outcome], now: datetime
) -> tuple[dict[UUID, list[Outcome]], dict[UUID, int]]:
    """Attempts that change what is known of their endpoint, and how many of each other endpoint only went well."""
    news: dict[UUID, list[Outcome]] = {}
    quiet: dict[UUID, int] = {}
    for endpoint_id, made in ledger.by_endpoint(outcomes).items():
        line = lines.get(endpoint_id)
        if line is not None and not ledger.is_news(line.endpoint, made, now):
            quiet[endpoint_id] = len(made)
        else:
            news[endpoint_id] = made
    return news, quiet
