"""Types of events and what they are called; each is defined, with its schema, in `shared.events`."""

from __future__ import annotations

from shared.catalog.labels import Labels
from shared.events import EVENT_TYPES as _CONTRACT

EVENT_TYPES: Labels = {name: each.label for name, each in _CONTRACT.items()}
