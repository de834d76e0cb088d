"""Who is calling."""

from __future__ import annotations

from typing import Any

from services.api import resources
from services.api.members.resource import MEMBERS
from services.api.workspaces import settings
from shared.db import Tx
from shared.tenancy import Principal


async def describe(tx: Tx, principal: Principal) -> dict[str, Any]:
    member = await resources.fetch(tx, principal, MEMBERS, principal.member_id)
    return {
        "member": MEMBERS.wire(member),
        "workspace": settings.wire(await settings.get(tx)),
        "role": principal.role,
        "scopes": sorted(principal.scopes),
        "reach": principal.reach.value,
        "owner_ids": list(principal.owner_ids),
        "api_key_id": principal.key_id,
    }
