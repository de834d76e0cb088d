"""The schema, as SQLAlchemy Core tables."""

from shared.models.base import EVENTS, SALES, SCORING, metadata
from shared.models.duplicates import duplicate_keys, merge_moves, merges
from shared.models.exports import export_chunks, exports
from shared.models.facts import (
    attribute_definitions,
    contacts,
    customers,
    interaction_contacts,
    interactions,
    products,
    tasks,
)
from shared.models.judgements import dirty_marks, drains, loads, models, moves, scores, seats
from shared.models.logins import member_identities, revoked_tokens, sessions
from shared.models.people import api_keys, members, policies, team_members, teams, workspaces
from shared.models.records import (
    audit_entries,
    idempotency_keys,
    import_chunks,
    import_errors,
    imports,
    outbox,
)
from shared.models.selling import opportunities, opportunity_members, pins, processes, stages, transitions
from shared.models.streams import stream_tickets
from shared.models.webhooks import (
    relay_positions,
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoint_states,
    webhook_endpoints,
    webhook_jobs,
    webhook_messages,
    webhook_queue,
    webhook_secrets,
)

__all__ = [
    "EVENTS",
    "SALES",
    "SCORING",
    "api_keys",
    "attribute_definitions",
    "audit_entries",
    "contacts",
    "customers",
    "dirty_marks",
    "drains",
    "duplicate_keys",
    "export_chunks",
    "exports",
    "idempotency_keys",
    "import_chunks",
    "import_errors",
    "imports",
    "interaction_contacts",
    "interactions",
    "loads",
    "member_identities",
    "members",
    "merge_moves",
    "merges",
    "metadata",
    "models",
    "moves",
    "opportunities",
    "opportunity_members",
    "outbox",
    "pins",
    "policies",
    "processes",
    "products",
    "relay_positions",
    "revoked_tokens",
    "scores",
    "seats",
    "sessions",
    "stages",
    "stream_tickets",
    "tasks",
    "team_members",
    "teams",
    "transitions",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_endpoint_states",
    "webhook_endpoints",
    "webhook_jobs",
    "webhook_messages",
    "webhook_queue",
    "webhook_secrets",
    "workspaces",
]
