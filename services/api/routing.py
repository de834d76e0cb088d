"""The router every feature uses: its routes run at the edge and declare their problem responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Header
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
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
        self._named: dict[tuple[str, str], APIRoute] = {}
        self._exact: dict[str, list[APIRoute]] = defaultdict(list)
        self._verbs: dict[str, list[APIRoute]] = defaultdict(list)
        self._plain: dict[str, list[APIRoute]] = defaultdict(list)
        for route in routes:
            if "{" not in route.path:
                self._exact[route.path].append(route)
                self._named.update({(route.path, method): route for method in route.methods or ()})
            elif ":" in route.path.rsplit("/", 1)[-1]:
                self._verbs[_resource(route.path)].append(route)
            else:
                self._plain[_resource(route.path)].append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        sought = {**scope, "path": _whole(scope)} if b"%2f" in scope.get("raw_path", b"").lower() else scope
        named = self._named.get((sought["path"], sought["method"]))
        if named is not None:
            return named.matches(sought)
        path: str = sought["path"]
        # `/processes/templates` and `/{id}:restore` are never a `/{id}`, whatever the method.
        for those in (self._exact.get(path), self._verbs_at(path), self._plain.get(_resource(path))):
            match, found = _first(those or (), sought)
            if match is not Match.NONE:
                return match, found if sought is scope or match is not Match.FULL else _with_slashes(found)
        return Match.NONE, {}

    def _verbs_at(self, path: str) -> list[APIRoute] | None:
        return self._verbs.get(_resource(path)) if ":" in path.rsplit("/", 1)[-1] else None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = scope.get("sixteen.allowed")
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        await scope["route"].handle(scope, receive, send)


def _first(routes: Iterable[APIRoute], scope: Scope) -> tuple[Match, Scope]:
    """The route that takes the request; or, where none takes its method, which methods are taken."""
    allowed: set[str] = set()
    partial: Scope = {}
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return match, found
        if match is Match.PARTIAL:
            allowed.update(route.methods or ())
            partial = partial or found
    return (Match.PARTIAL, {**partial, "sixteen.allowed": allowed}) if allowed else (Match.NONE, {})


def _whole(scope: Scope) -> str:
    """The path with each escaped slash as a NUL, so that a part of it that holds one is one part.

    The server has decoded the path; only its raw form still tells `a%2Fb` from `a/b`. NUL itself never matches.
    """
    raw = scope["raw_path"].decode("ascii", "replace")
    parts = [unquote(part) for part in raw.split("/")]
    if any("\0" in part for part in parts):
        return str(scope["path"])
    return "/".join(part.replace("/", "\0") for part in parts)


def _with_slashes(found: Scope) -> Scope:
    values = {name: str(value).replace("\0", "/") for name, value in found["path_params"].items()}
    return {**found, "path_params": values}


def _resource(path: str) -> str:
    """`/v1/opportunities/{id}` and `/v1/opportunities:batch` as `opportunities`; `/livez` as `livez`."""
    parts = path.split("/", 3)
    name = parts[2] if len(parts) > 2 and parts[1] == "v1" else parts[1]
    return name.partition(":")[0]


def answers(status: int, model: type[BaseModel], description: str = "Created.") -> dict[int | str, dict[str, Any]]:
    """A further successful response of a route."""
    return {status: {"model": model, "description": description}}


__all__ = ["IfMatch", "ProblemDocument", "RouteIndex", "Router", "answers"]
