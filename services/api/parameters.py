"""What a request says in its path, its headers and its query, read in one step each.

The framework looks at the type of each parameter anew in every request, which for a list with twenty filters costs as
much as the rest of the request. Here the shape is looked at once a route.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

# The name under which a wrapped call gets the request, where what it wraps has none for it.
REQUEST = "sixteen_request"
Endpoint = Callable[..., Coroutine[Any, Any, Any]]


class Places(NamedTuple):
    """The parameters of a route in its path and its headers; each with the name it has there."""

    path: tuple[tuple[str, ModelField], ...]
    headers: tuple[tuple[str, ModelField], ...]

    @classmethod
    def of(cls, dependant: Dependant) -> Places:
        return cls(
            tuple((each.alias, each) for each in dependant.path_params),
            tuple((each.alias, each) for each in dependant.header_params),
        )

    def read(self, request: Request) -> dict[str, Any]:
        """The values by the names of the call's arguments; raises RequestValidationError."""
        values: dict[str, Any] = {}
        wrong: list[dict[str, Any]] = []
        for name, field in self.path:
            values[field.name], errors = field.validate(request.path_params[name], loc=("path", name))
            wrong += errors
        for name, field in self.headers:
            given = request.headers.get(name)
            if given is None:
                values[field.name] = field.get_default()
                continue
            values[field.name], errors = field.validate(given, loc=("header", name))
            wrong += errors
        if wrong:
            raise RequestValidationError(wrong)
        return values


def reading_query_at_once(dependant: Dependant) -> Dependant:
    """The same dependant; where its query is one model, its call reads that itself, when all else is known.

    Who may not call, and where the path leads nowhere, is still said first.
    """
    model = dependant.query_params[0].field_info.annotation if len(dependant.query_params) == 1 else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or dependant.call is None:
        return dependant
    call: Endpoint = dependant.call
    name, asks_for_request = dependant.query_params[0].name, dependant.request_param_name
    read = _reader(model)

    async def run(**values: Any) -> Any:
        request: Request = values[asks_for_request] if asks_for_request else values.pop(REQUEST)
        return await call(**values, **{name: read(request.scope["query_string"])})

    return replace(dependant, query_params=[], call=run, request_param_name=asks_for_request or REQUEST)


def _reader(model: type[BaseModel]) -> Callable[[bytes], BaseModel]:
    """Of a parameter given more than once a list takes all; anything else is refused, for which one was meant?"""
    lists = frozenset(
        each.alias or name for name, each in model.model_fields.items() if field_annotation_is_sequence(each.annotation)
    )
    known = frozenset(each.alias or name for name, each in model.model_fields.items())

    def read(query: bytes) -> BaseModel:
        given: dict[str, Any] = {}
        twice: set[str] = set()
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else ():
            if name in lists:
                given.setdefault(name, []).append(value)
            else:
                if name in given and name in known:
                    twice.add(name)
                given[name] = value
        if twice:
            raise RequestValidationError([_given_twice(name) for name in sorted(twice)])
        try:
            return model.model_validate(given)
        except ValidationError as error:
            wrong = [{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_url=False)]
            raise RequestValidationError(wrong) from None

    return read


def _given_twice(name: str) -> dict[str, Any]:
    return {"type": "repeated", "loc": ("query", name), "msg": "This parameter is given more than once."}
