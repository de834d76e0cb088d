"""The router every feature uses: its routes run at the edge and declare their problem responses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel

from services.api.edge import EdgeRoute
from services.api.errors import ProblemDocument
from services.api.handlers import PROBLEM_JSON

IfMatch = Annotated[str | None, Header(alias="If-Match", description='Strong ETag of the version read, such as "3".')]
PROBLEM: dict[str, Any] = {"content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request was refused; `code` says why.", **PROBLEM},
    "5XX": {"description": "The service could not answer.", **PROBLEM},
}


class Router(APIRouter):
    """An APIRouter whose every route is a transaction and answers errors with problem documents."""

    def __init__(self, **given: Any) -> None:
        super().__init__(route_class=EdgeRoute, responses=dict(PROBLEMS), **given)


def answers(status: int, model: type[BaseModel], description: str = "Created.") -> dict[int | str, dict[str, Any]]:
    """A further successful response of a route."""
    return {status: {"model": model, "description": description}}


__all__ = ["PROBLEMS", "IfMatch", "ProblemDocument", "Router", "answers"]
