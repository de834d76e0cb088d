"""What one api process holds while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from services.api.auth.identity import Identities
from services.api.events.hub import Hub
from services.api.limits.admission import Limits
from services.api.settings import ApiSettings
from shared.clock import Clock
from shared.db import Database
from shared.queue import Nudger


@dataclass(slots=True)
class State:
    """Made at start-up, closed at shutdown; found at `app.state.sixteen`."""

    settings: ApiSettings
    database: Database
    identities: Identities
    nudger: Nudger
    clock: Clock
    hub: Hub
    limits: Limits
    ready: bool = False
