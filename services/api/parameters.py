"""What a request says in its path, its headers and its query, read in one step each.

The framework looks at the type of each parameter anew in every request, which for a list with twenty filters costs as
much as the rest of the request. Here the shape is looked at once a route.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from json import JSONDecodeError
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from fastapi._compat import ModelField, field_annotation_is_sequence, get_missing_field_error
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

_REQUEST = "sixteen_request"
Endpoint = Callable[..., Coroutine[Any, Any, Any]]


class Reading(NamedTuple):
    """Where the arguments of a route's call stand in a request: each with its name there, or what reads it."""

    path: tuple[tuple[str, ModelField], ...]
    headers: tuple[tuple[str, ModelField], ...]
    query: tuple[str, Callable[[bytes], BaseModel]] | None
    body: ModelField | None

    @classmethod
    def of(cls, dependant: Dependant) -> Reading | None:
        """None where a route reads something else: a form, cookies, parameters that make no model."""
        query = _query_of(dependant)
        body = dependant.body_params[0] if dependant.body_params else None
        others = dependant.cookie_params or (dependant.query_params and query is None) or len(dependant.body_params) > 1
        if others or (body is not None and (isinstance(body.field_info, Form) or body.field_info.embed)):  # type: ignore[attr-defined]
            return None
        path, headers = dependant.path_params, dependant.header_params
        return cls(
            tuple((each.alias, each) for each in path), tuple((each.alias, each) for each in headers), query, body
        )

    async def read(self, request: Request) -> dict[str, Any]:
        """The arguments by name; raises RequestValidationError: where the path leads nowhere is said first."""
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
        if self.body is not None:
            values[self.body.name] = await _read_body(request, self.body)
        if self.query is not None:
            values[self.query[0]] = self.query[1](request.scope["query_string"])
        return values


async def _read_body(request: Request, field: ModelField) -> Any:
    """The document in the body as the route's model."""
    try:
        if not await request.body():
            if field.field_info.is_required():
                raise RequestValidationError([get_missing_field_error(("body",))])
            return field.get_default()
        document = await request.json()
    except JSONDecodeError as error:
        wrong = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {}}
        raise RequestValidationError([{**wrong, "ctx": {"error": error.msg}}], body=error.doc) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended before its end.") from error
    value, errors = field.validate(document, loc=("body",))
    if errors:
        raise RequestValidationError(errors, body=document)
    return value


def reading_query_at_once(dependant: Dependant) -> Dependant:
    """The same dependant; where its query is one model, its call reads that itself, when all else is known.

    For a route that the framework calls. Who may not call, and where the path leads nowhere, is still said first.
    """
    query = _query_of(dependant)
    if query is None or dependant.call is None:
        return dependant
    call: Endpoint = dependant.call
    asks_for_request = dependant.request_param_name
    name, read = query

    async def run(**values: Any) -> Any:
        request: Request = values[asks_for_request] if asks_for_request else values.pop(_REQUEST)
        return await call(**values, **{name: read(request.scope["query_string"])})

    return replace(dependant, query_params=[], call=run, request_param_name=asks_for_request or _REQUEST)


def _query_of(dependant: Dependant) -> tuple[str, Callable[[bytes], BaseModel]] | None:
    """The name of the call's one model of parameters, and what reads it."""
    if len(dependant.query_params) != 1:
        return None
    field = dependant.query_params[0]
    model = field.field_info.annotation
    return (field.name, _reader(model)) if isinstance(model, type) and issubclass(model, BaseModel) else None


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
