"""Every type of event that a request can leave is in the catalog."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import services.api
from services.api.opportunities.transitions import EVENTS
from services.api.resources import Resource
from shared.catalog.events import EVENT_TYPES

# What can't be changed through the resource functions leaves no events by them.
READ_ONLY = {"audit_entry", "transition", "pin", "move"}


def resources() -> list[Resource]:
    found: dict[str, Resource] = {}
    for package in pkgutil.iter_modules(services.api.__path__):
        if not package.ispkg:
            continue
        for module in pkgutil.iter_modules(import_module(f"services.api.{package.name}").__path__):
            loaded = import_module(f"services.api.{package.name}.{module.name}")
            found |= {each.name: each for each in vars(loaded).values() if isinstance(each, Resource)}
    return [each for name, each in found.items() if name not in READ_ONLY]


def test_what_resources_leave_is_known() -> None:
    types = {f"{each.name}.created" for each in resources() if each.name not in {"policy", "import"}}
    types |= {f"{each.name}.{action}" for each in resources() if each.soft for action in ("deleted", "restored")}
    assert len(types) > 15
    assert sorted(types - set(EVENT_TYPES)) == []


def test_what_transitions_leave_is_known() -> None:
    assert {f"opportunity.{name}" for name in EVENTS.values()} <= set(EVENT_TYPES)
