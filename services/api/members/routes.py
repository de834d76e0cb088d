"""Members over HTTP."""

from __future__ import annotations

from services.api.expand import ReadParams
from services.api.members import schemas, service
from services.api.members.forgetting import forgetting
from services.api.members.views import READ_MEMBERS, MemberListParams
from services.api.routing import Router
from services.api.standard import Routes

router = Router(prefix="/v1/members", tags=["members"])
routes = Routes(router, READ_MEMBERS, schemas.Member, "Member", "Members")
routes.add_list(MemberListParams, "Members of the workspace, a page at a time.")
routes.add_create(
    schemas.MemberCreate,
    lambda tx, _, body: service.create(tx, body),
    "Takes somebody into the workspace; a key of their own is made under /v1/api-keys.",
)
routes.add_get(ReadParams, "One member of the workspace, active or not.")
routes.add_patch(
    schemas.MemberPatch,
    service.patch,
    "Changes a member (JSON merge-patch); the last active administrator stays one.",
    forgetting,
)
routes.add_upsert(
    schemas.MemberUpsert,
    service.upsert,
    "Creates or replaces the member that another system knows under this id.",
    forgetting,
)
