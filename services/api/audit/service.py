"""Who may read the audit trail, and how much of it."""

from __future__ import annotations

from typing import Any

from services.api import resources
from services.api.audit.resource import AUDIT
from services.api.audit.schemas import AuditFilters
from services.api.owners import require_manager
from services.api.pagination import Cursors
from shared.db import Tx
from shared.tenancy import Principal, Reach


async def page(tx: Tx, principal: Principal, params: AuditFilters, cursors: Cursors) -> dict[str, Any]:
    """A page of the trail; raises Forbidden for all but administrators and managers."""
    require_manager(principal, "read the audit trail")
    fixed = {"of_team": list(principal.owner_ids)} if principal.reach is Reach.TEAM else {}
    return await resources.fetch_page(tx, principal, AUDIT, params, cursors, fixed=fixed)
