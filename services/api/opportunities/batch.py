"""Up to 200 writes in one transaction: all of them, or none.

Each operation goes through the same service as a call of its own, in order, so that no rule is other here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from pydantic import BaseModel, Field

from services.api import resources
from services.api.errors import FieldError, Problem
from services.api.fields import Strict
from services.api.handlers import from_database
from services.api.opportunities import service, transitions
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import Opportunity, OpportunityCreate, OpportunityPatch
from services.api.opportunities.transition_schemas import TransitionRequest
from shared.db import Row, Tx
from shared.tenancy import Principal

MOST_OPERATIONS = 200


class CreateOperation(Strict):
    """Records an opportunity."""

    kind: Literal["create"]
    body: OpportunityCreate


class UpdateOperation(Strict):
    """Changes facts of an opportunity."""

    kind: Literal["update"]
    id: UUID
    body: OpportunityPatch
    if_match: str | None = None


class TransitionOperation(Strict):
    """Moves an opportunity along its process."""

    kind: Literal["transition"]
    id: UUID
    body: TransitionRequest
    if_match: str | None = None


class DeleteOperation(Strict):
    """Deletes an opportunity softly."""

    kind: Literal["delete"]
    id: UUID
    if_match: str | None = None


Operation = Annotated[
    CreateOperation | UpdateOperation | TransitionOperation | DeleteOperation, Field(discriminator="kind")
]


class OpportunityBatch(Strict):
    """Operations in order, atomic as a whole."""

    operations: list[Operation] = Field(min_length=1, max_length=MOST_OPERATIONS)


class OpportunityBatchResult(BaseModel):
    """The opportunity after each operation, in order."""

    data: list[Opportunity]


async def run(tx: Tx, principal: Principal, body: OpportunityBatch) -> dict[str, Any]:
    """Does all operations; the first that is refused refuses the whole, and its errors point at its place."""
    done = []
    for place, operation in enumerate(body.operations):
        try:
            done.append(OPPORTUNITIES.wire(await _one(tx, principal, operation)))
        except Problem as problem:
            raise _at(place, problem) from problem
        except asyncpg.PostgresError as error:
            raise _at(place, from_database(error)) from error
    return {"data": done}


def _at(place: int, problem: Problem) -> Problem:
    """The problem with its errors pointing into the operation at `place`."""
    prefix = f"/operations/{place}"
    problem.errors = [
        FieldError(pointer=f"{prefix}/body{e.pointer}" if e.pointer else prefix, code=e.code, message=e.message)
        for e in problem.errors
    ] or [FieldError(pointer=prefix, code=problem.code, message=problem.detail)]
    return problem


async def _one(tx: Tx, principal: Principal, operation: Operation) -> Row:
    if isinstance(operation, CreateOperation):
        return await service.create(tx, principal, operation.body)
    if isinstance(operation, UpdateOperation):
        return await service.patch(tx, principal, operation.id, operation.body, operation.if_match)
    if isinstance(operation, TransitionOperation):
        row, _ = await transitions.transition(tx, principal, operation.id, operation.body, operation.if_match)
        return row
    return await resources.delete(tx, principal, OPPORTUNITIES, operation.id, operation.if_match)
