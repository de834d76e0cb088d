"""Reading a resource as its reader wants it: one or a page, with neighbours, with fewer fields, or not again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel

from services.api import resources
from services.api.expand import Asked, Expansion, ReadParams, check_fields, expand, trimmed
from services.api.pagination import ListParams
from services.api.resources import Resource
from services.api.wire import JSON, answer, dump, etag, etag_of_body, is_known, not_modified
from shared.catalog.labels import negotiate
from shared.db import Row, Tx
from shared.tenancy import Principal


@dataclass(frozen=True, eq=False)
class Readable:
    """A resource, what can be sent along with it, and the model of its reads, whose members `fields` may name."""

    resource: Resource
    model: type[BaseModel]
    expansions: Mapping[str, Expansion] = field(default_factory=dict)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        members = self.model.model_fields.items()
        object.__setattr__(self, "names", tuple(each.alias or name for name, each in members if name != "expanded"))

    @property
    def spoken(self) -> bool:
        return any(expansion.spoken for expansion in self.expansions.values())


def readable(resource: Resource, model: type[BaseModel], *expansions: Expansion) -> Readable:
    return Readable(resource, model, {expansion.name: expansion for expansion in expansions})


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for besides the resource itself."""

    expand: Sequence[str]
    fields: Sequence[str] | None
    language: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, readable: Readable, params: ReadParams | ListParams, accept_language: str | None) -> Wish:
        names, fields = getattr(params, "expand", None) or (), getattr(params, "fields", None)
        check_fields(fields, readable.names)
        if not any(readable.expansions[name].spoken for name in names):
            return cls(names, fields, "en", {})
        language = negotiate(accept_language)
        return cls(names, fields, language, spoken(language))


def spoken(language: str) -> dict[str, str]:
    """Headers that say in which language the words are."""
    return {"Content-Language": language, "Vary": "Accept-Language"}


async def show(
    tx: Tx, principal: Principal, readable: Readable, wish: Wish, rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Rows as JSON, with their neighbours and no more fields than asked for."""
    shown = [trimmed(readable.resource.wire(row), wish.fields) for row in rows]
    if wish.expand:
        asked = Asked(tx, principal, wish.language)
        beside = await expand(asked, readable.expansions, wish.expand, rows)
        for body, neighbours in zip(shown, beside, strict=True):
            body["expanded"] = neighbours
    return shown


async def read_one(
    request: Request,
    tx: Tx,
    principal: Principal,
    readable: Readable,
    id_: UUID,
    params: ReadParams,
    accept_language: str | None = None,
) -> Response:
    """One resource. What the reader has already costs a look at its version, and nothing is built."""
    wish = Wish.of(readable, params, accept_language)
    if not wish.expand and "if-none-match" in request.headers:
        tag = etag(await resources.fetch_version(tx, principal, readable.resource, id_))
        if is_known(request, tag):
            return not_modified(tag)
    row = await resources.fetch(tx, principal, readable.resource, id_)
    [body] = await show(tx, principal, readable, wish, [row])
    if not wish.expand:
        return answer(body, version=row["version"])
    content = dump(body)
    return Response(content, 200, {"ETag": etag_of_body(row["version"], content), **wish.headers}, JSON)


async def read_page(
    request: Request,
    tx: Tx,
    principal: Principal,
    readable: Readable,
    params: ListParams,
    accept_language: str | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Response:
    """A page of a list, with its neighbours where they are asked for."""
    wish = Wish.of(readable, params, accept_language)
    cursors = request.app.state.cursors
    page = await resources.fetch_page(tx, principal, readable.resource, params, cursors, fixed=fixed, wire=_as_it_is)
    rows = page["data"]
    page["data"] = await show(tx, principal, readable, wish, rows)
    # What is shown beside the rows has no versions: the tag is then made from the bytes, as that of any answer.
    tag = {} if wish.expand else {"ETag": tag_of_rows(rows, page["next_cursor"])}
    return answer(page, headers={**wish.headers, **tag})


def tag_of_rows(rows: Sequence[Row], next_cursor: str | None) -> str:
    """A weak ETag of a page: its rows tell all of themselves by their versions."""
    told = [row["id"].bytes + row["version"].to_bytes(8, "big") for row in rows]
    return f'W/"{hashlib.blake2b(b"".join((*told, (next_cursor or "").encode())), digest_size=12).hexdigest()}"'


def _as_it_is(row: Row) -> Row:
    return row
