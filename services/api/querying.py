"""The query of a request, read into the model of its parameters in one step.

The framework reads a model of parameters field by field and looks at each field's type anew in every request, which
for a list with twenty filters costs as much as the rest of the request. Here the shape is looked at once a route.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

# The name under which a wrapped call gets the request, where what it wraps has none for it.
REQUEST = "sixteen_request"
Endpoint = Callable[..., Coroutine[Any, Any, Any]]


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
