"""Recording the story: every action becomes a call of the service that serves the same request of the API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from deploy.demo.actions import (
    Action,
    AddContact,
    AddCustomer,
    FinishTask,
    HandOver,
    Move,
    OpenOpportunity,
    Pin,
    Revise,
    Share,
    Touch,
)
from deploy.demo.world import local_date
from services.api.contacts import service as contacts
from services.api.contacts.schemas import ContactCreate
from services.api.customers import service as customers
from services.api.customers.schemas import CustomerCreate, CustomerReassign
from services.api.focus import pins
from services.api.focus.pin_schemas import PinCreate
from services.api.interactions import service as interactions
from services.api.interactions.schemas import InteractionCreate
from services.api.opportunities import service as opportunities
from services.api.opportunities import sharing, transitions
from services.api.opportunities.schemas import (
    OpportunityCreate,
    OpportunityMemberAdd,
    OpportunityPatch,
    OpportunityReassign,
)
from services.api.opportunities.transition_schemas import TransitionRequest
from services.api.tasks import service as tasks
from services.api.tasks.schemas import TaskComplete
from shared.db import Tx
from shared.outbox import write_effects
from shared.tenancy import Principal

# Events are kept for as long as an installation keeps them at least; what came before is in the audit trail.
EVENT_DAYS = 30


class Recorder:
    """Records actions in one transaction, each at its simulated time and in the name of who did it.

    `ids` gives the id of every subject by its key in the story: members, products and processes before it starts, and
    whatever it records as it goes on.
    """

    def __init__(self, tx: Tx, principals: dict[str, Principal], ids: dict[str, UUID], ends_at: datetime) -> None:
        self._tx = tx
        self._principals = principals
        self.ids = ids
        self._events_from = ends_at - timedelta(days=EVENT_DAYS)
        self._actor: str | None = None
        self._do: dict[type, Callable[[Any, Principal], Coroutine[Any, Any, None]]] = {
            AddCustomer: self._customer,
            AddContact: self._contact,
            OpenOpportunity: self._opportunity,
            Touch: self._touch,
            FinishTask: self._finish,
            Revise: self._revise,
            Move: self._move,
            HandOver: self._hand_over,
            Share: self._share,
            Pin: self._pin,
        }

    async def record(self, action: Action) -> None:
        """Calls the service; raises the service's Problem where the story breaks a rule."""
        tx = self._tx
        if action.actor != self._actor or local_date(action.at) != local_date(tx.now):
            await self.flush()
        tx.now, self._actor = action.at, action.actor
        await self._do[type(action)](action, self._principals[action.actor])

    async def flush(self, actor_id: UUID | None = None) -> None:
        """Writes what an actor's day has left: audit entries, and the events that are still kept.

        The marks are dropped: the whole workspace is marked once when the year is over.
        """
        effects = self._tx.effects
        effects.marks.clear()
        if self._tx.now < self._events_from:
            effects.events.clear()
        if self._actor is not None:
            actor_id = self._principals[self._actor].member_id
        await write_effects(self._tx, actor_id=actor_id)

    async def _customer(self, action: AddCustomer, principal: Principal) -> None:
        owner_id = self.ids[action.owner] if action.owner else None
        body = CustomerCreate.model_validate({**action.values, "owner_id": owner_id})
        self.ids[action.key] = (await customers.create(self._tx, principal, body))["id"]

    async def _contact(self, action: AddContact, principal: Principal) -> None:
        body = ContactCreate.model_validate({**action.values, "customer_id": self.ids[action.customer]})
        self.ids[action.key] = (await contacts.create(self._tx, principal, body))["id"]

    async def _opportunity(self, action: OpenOpportunity, principal: Principal) -> None:
        body = OpportunityCreate.model_validate(
            {
                **action.values,
                "customer_id": self.ids[action.customer],
                "owner_id": self.ids[action.owner] if action.owner else None,
                "process_id": self.ids[action.process],
                "product_id": self.ids[action.product] if action.product else None,
            }
        )
        # A customer and its opportunity may have the same key: a told record is found by one name.
        self.ids[f"{action.key}#"] = (await opportunities.create(self._tx, principal, body))["id"]

    async def _touch(self, action: Touch, principal: Principal) -> None:
        step = action.next_step
        body = InteractionCreate.model_validate(
            {
                **action.values,
                "customer_id": self.ids[action.customer],
                "opportunity_id": self.ids[f"{action.opportunity}#"] if action.opportunity else None,
                "contact_ids": [self.ids[contact] for contact in action.contacts],
                "next_step": {"title": step.title, "due_on": step.due_on} if step else None,
                "promises": [{"title": each.title, "due_on": each.due_on} for each in action.promises],
            }
        )
        row = await interactions.create(self._tx, principal, body)
        self.ids[action.key] = row["id"]
        agreed = {"promise": action.promises, "next_step": (step,) if step else ()}
        made = [event for event in self._tx.effects.events if event.data.get("interaction_id") == row["id"]]
        for kind, dues in agreed.items():
            for due, event in zip(dues, [e for e in made if e.data["kind"] == kind], strict=True):
                self.ids[due.key] = event.subject_id

    async def _finish(self, action: FinishTask, principal: Principal) -> None:
        await tasks.complete(self._tx, principal, self.ids[action.task], TaskComplete(kept=action.kept), None)

    async def _revise(self, action: Revise, principal: Principal) -> None:
        body = OpportunityPatch.model_validate(action.values)
        await opportunities.patch(self._tx, principal, self.ids[f"{action.opportunity}#"], body, None)

    async def _move(self, action: Move, principal: Principal) -> None:
        body = TransitionRequest(action=action.action, reason=action.reason, note=action.note)
        await transitions.transition(self._tx, principal, self.ids[f"{action.opportunity}#"], body, None)

    async def _hand_over(self, action: HandOver, principal: Principal) -> None:
        to, reason = self.ids[action.to], action.reason
        customer = CustomerReassign(owner_id=to, reason=reason)
        await customers.reassign(self._tx, principal, self.ids[action.subject], customer, None)
        opportunity_id = self.ids.get(f"{action.subject}#")
        if opportunity_id is not None:
            body = OpportunityReassign(owner_id=to, reason=reason)
            await opportunities.reassign(self._tx, principal, opportunity_id, body, None)

    async def _share(self, action: Share, principal: Principal) -> None:
        body = OpportunityMemberAdd(member_id=self.ids[action.member], role=action.role)
        await sharing.add(self._tx, principal, self.ids[f"{action.opportunity}#"], body)

    async def _pin(self, action: Pin, principal: Principal) -> None:
        body = PinCreate.model_validate(
            {
                "kind": "pin" if action.band else "mute",
                "subject_type": "opportunity",
                "subject_id": self.ids[f"{action.opportunity}#"],
                "band": action.band,
                "reason": action.reason,
                "expires_at": action.expires_at,
            }
        )
        await pins.create(self._tx, principal, body)
