"""What a change of owner entails besides the change: pins fall, both reps are ranked again (DOMAIN §14)."""

from __future__ import annotations

from uuid import UUID

from services.api import resources
from services.api.opportunities.resource import OPPORTUNITIES
from shared.db import Tx, sql
from shared.effects import Mark

END_PINS = sql(
    "UPDATE sales.pins SET ended_at = :now, updated_at = :now, version = version + 1"
    " WHERE workspace_id = :workspace_id AND subject_id = ANY(CAST(:subjects AS uuid[])) AND ended_at IS NULL"
)
OPEN_OF_CUSTOMER = sql(
    "UPDATE sales.opportunities SET owner_id = :to_owner, owner_changed_at = :now, updated_at = :now,"
    " owner_reason = :reason,"
    " version = version + 1 WHERE workspace_id = :workspace_id AND customer_id = :customer_id"
    " AND owner_id IS NOT DISTINCT FROM CAST(:from_owner AS uuid) AND status = 'open' AND deleted_at IS NULL"
    " RETURNING *"
)


async def record_handover(tx: Tx, from_owner: UUID | None, to_owner: UUID | None) -> None:
    """Says in the last event from whom, drops the subject's pins, and has both reps ranked again.

    Why it was handed over stands in the record itself: a manager's words stay out of events and audit.
    """
    event = tx.effects.events[-1]
    event.data["from_owner_id"] = from_owner
    await tx.run(END_PINS, now=tx.now, subjects=[event.subject_id])
    for owner_id in (from_owner, to_owner):
        if owner_id is not None:
            tx.effects.mark(Mark("owner", owner_id))


async def hand_over_opportunities(
    tx: Tx, customer_id: UUID, from_owner: UUID | None, to_owner: UUID | None, reason: str
) -> None:
    """Hands over all open opportunities that the old owner has at this customer."""
    moved = await tx.rows(
        OPEN_OF_CUSTOMER,
        customer_id=customer_id,
        from_owner=from_owner,
        to_owner=to_owner,
        reason=reason,
        now=tx.now,
    )
    for row in moved:
        before = {**dict(row), "owner_id": from_owner}
        resources.note(tx, OPPORTUNITIES, "reassigned", before, row)
        tx.effects.events[-1].data["from_owner_id"] = from_owner
    await tx.run(END_PINS, now=tx.now, subjects=[row["id"] for row in moved])
