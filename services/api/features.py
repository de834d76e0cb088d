"""The routers of all features, in the order of the documentation."""

from __future__ import annotations

from services.api.api_keys.routes import router as api_keys
from services.api.attributes.routes import router as attributes
from services.api.audit.routes import router as audit
from services.api.catalog.routes import router as catalog
from services.api.contacts.routes import router as contacts
from services.api.customers.routes import router as customers
from services.api.duplicates.routes import router as duplicates
from services.api.events.routes import router as events
from services.api.events.routes import tickets_router as stream_tickets
from services.api.events.routes import types_router as event_types
from services.api.exports.routes import router as exports
from services.api.focus.routes import router as focus
from services.api.imports.routes import router as imports
from services.api.interactions.routes import router as interactions
from services.api.logins.member_routes import router as member_logins
from services.api.logins.routes import router as logins
from services.api.me.routes import router as me
from services.api.members.routes import router as members
from services.api.merges.routes import router as merges
from services.api.opportunities.routes import router as opportunities
from services.api.policy.routes import router as policy
from services.api.processes.routes import router as processes
from services.api.products.routes import router as products
from services.api.scores.routes import router as scores
from services.api.tasks.routes import router as tasks
from services.api.teams.routes import router as teams
from services.api.webhooks.deliveries.routes import router as webhook_deliveries
from services.api.webhooks.routes import router as webhook_endpoints
from services.api.workspaces.routes import router as workspaces

ROUTERS = (
    customers,
    opportunities,
    processes,
    interactions,
    tasks,
    focus,
    scores,
    contacts,
    duplicates,
    merges,
    products,
    api_keys,
    logins,
    me,
    members,
    member_logins,
    teams,
    workspaces,
    imports,
    exports,
    events,
    event_types,
    stream_tickets,
    webhook_endpoints,
    webhook_deliveries,
    attributes,
    policy,
    catalog,
    audit,
)
