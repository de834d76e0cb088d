"""The routers of all features, in the order of the documentation."""

from __future__ import annotations

from services.api.customers.routes import router as customers
from services.api.opportunities.routes import router as opportunities
from services.api.processes.routes import router as processes

ROUTERS = (customers, opportunities, processes)
