"""Who is remembered as a caller is forgotten once a change of members, teams or keys is committed."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.background import BackgroundTask

from services.api.state import State
from shared.tenancy import Principal


def forgetting(request: Request, principal: Principal, response: Response) -> Response:
    """The response, after which this process forgets the workspace's keys; others do within the ttl.

    A background task runs after the commit: forgetting earlier would let a request at the same moment remember the
    old rights again.
    """
    state: State = request.app.state.sixteen
    response.background = BackgroundTask(state.identities.forget, principal.workspace_id)
    return response
