"""The catalog: all codes with their labels, gathered from where they are defined."""

from __future__ import annotations

import hashlib
import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

import shared.catalog
from services.api.catalog.error_labels import error_labels
from services.api.errors import Problem
from services.api.processes.resource import template_wire
from services.api.wire import dump
from shared.catalog.labels import Label, Labels
from shared.catalog.people import ROLE_SCOPES, ROLES, SCOPES
from shared.catalog.templates import TEMPLATES


@cache
def enums() -> dict[str, Labels]:
    """Every public table of labels in `shared.catalog`, by its name in lower case."""
    found: dict[str, Labels] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(shared.catalog.__path__)):
        for name, value in vars(import_module(f"shared.catalog.{module}")).items():
            if not name.startswith("_") and _is_labels(value):
                found[name.lower()] = value
    return found


def _is_labels(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(each, Label) for each in value.values())


@cache
def catalog(language: str) -> tuple[bytes, str]:
    """The catalog in one language as JSON, and its ETag."""
    body = dump(_document(language))
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _document(language: str) -> dict[str, Any]:
    return {
        "language": language,
        "enums": {name: _entries(labels, language) for name, labels in sorted(enums().items())},
        "roles": [
            {"code": role, "label": label.in_language(language), "scopes": sorted(ROLE_SCOPES[role])}
            for role, label in ROLES.items()
        ],
        "scopes": list(SCOPES),
        "templates": [template_wire(template) for template in TEMPLATES.values()],
        "errors": [
            {"code": code, "label": label.in_language(language), "status": Problem.registry[code].status}
            for code, label in error_labels().items()
        ],
    }


def _entries(labels: Labels, language: str) -> list[dict[str, Any]]:
    return [{"code": code, "label": label.in_language(language)} for code, label in labels.items()]
