"""Interactions over HTTP."""

from __future__ import annotations

from services.api.interactions import schemas, service
from services.api.interactions.views import READ_INTERACTIONS, InteractionListParams, InteractionParams
from services.api.routing import Router
from services.api.standard import Routes

router = Router(prefix="/v1/interactions", tags=["interactions"])
routes = Routes(router, READ_INTERACTIONS, schemas.Interaction, "Interaction", "Interactions")
routes.add_list(
    InteractionListParams,
    "Interactions with the customers and opportunities within reach, latest first, a page at a time.",
)
routes.add_sync()
routes.add_create(
    schemas.InteractionCreate, service.create, "Records an interaction; promises and the next step become tasks."
)
routes.add_get(InteractionParams, "One interaction, with the contacts who took part.")
routes.add_patch(schemas.InteractionPatch, service.patch, "Changes an interaction (JSON merge-patch).")
routes.add_delete("Deletes an interaction softly; it can be restored for 30 days. Its tasks stay.")
routes.add_restore("Undoes a deletion of the last 30 days.", service.restore)
routes.add_upsert(
    schemas.InteractionUpsert,
    service.upsert,
    "Creates or replaces the interaction that another system knows under this id.",
)
