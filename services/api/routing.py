"""The router every feature uses: its routes run at the edge and declare their problem responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from services.api.edge import EdgeRoute
from services.api.errors import ProblemDocument

IfMatch = Annotated[str | None, Header(alias="If-Match", description='Strong ETag of the version read, such as "3".')]
# Keeps the framework's own 422 out; the document names each status an operation answers with (openapi/refusals.py).
REFUSED: dict[int | str, dict[str, Any]] = {"4XX": {"description": "The request was refused; `code` says why."}}


class Router(APIRouter):
    """An APIRouter whose every route is a transaction and answers errors with problem documents."""

    def __init__(self, **given: Any) -> None:
        super().__init__(route_class=EdgeRoute, responses=dict(REFUSED), **given)


class RouteIndex(BaseRoute):
    """All routes as one, found by the first two parts of the path instead of by trying each in turn.

    A request among a hundred routes then costs what it would among the few of its own resource.
    """

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._by_resource: dict[str, list[APIRoute]] = defaultdict(list)
        for route in routes:
            self._by_resource[_resource(route.path)].append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        partial: Scope | None = None
        if scope["type"] == "http":
            for route in self._by_resource.get(_resource(scope["path"]), ()):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return match, found
                if match is Match.PARTIAL and partial is None:
                    partial = found
        return (Match.NONE, {}) if partial is None else (Match.PARTIAL, partial)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def _resource(path: str) -> str:
    """`/v1/opportunities/{id}` and `/v1/opportunities:batch` as `opportunities`; `/livez` as `livez`."""
    parts = path.split("/", 3)
    name = parts[2] if len(parts) > 2 and parts[1] == "v1" else parts[1]
    return name.partition(":")[0]


def answers(status: int, model: type[BaseModel], description: str = "Created.") -> dict[int | str, dict[str, Any]]:
    """A further successful response of a route."""
    return {status: {"model": model, "description": description}}


__all__ = ["IfMatch", "ProblemDocument", "RouteIndex", "Router", "answers"]
