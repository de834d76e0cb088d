"""The routes that resources have alike, each added by one call: what differs is said, what doesn't is here.

Operation ids follow from the resource's names: listCustomers, getCustomer, syncCustomers, createCustomer and so on.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Path, Query, Request, Response
from pydantic import BaseModel

from services.api import reads, resources, sync
from services.api.edge import EdgeTransaction, requires
from services.api.errors import PreconditionFailed
from services.api.expand import ReadParams
from services.api.fields import ExternalText
from services.api.pagination import ListParams, Page
from services.api.reads import Readable
from services.api.resources import Resource
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, check_if_match, created, no_content
from shared.db import Row, Tx
from shared.tenancy import Principal

Id = Annotated[UUID, Path(alias="id")]
Language = Annotated[
    str | None, Header(alias="Accept-Language", description="Words are in `en` or `zh-Hans`; `en` by default.")
]
Create = Callable[[Tx, Principal, Any], Awaitable[Row]]
Patch = Callable[[Tx, Principal, UUID, Any, str | None], Awaitable[Row]]
Upsert = Callable[[Tx, Principal, str, str, Any], Awaitable[tuple[Row, bool]]]
Delete = Callable[[Tx, Principal, UUID, str | None], Awaitable[Any]]
Restore = Callable[[Tx, Principal, UUID], Awaitable[Row]]
Fixed = Callable[[Tx, Any], Awaitable[Mapping[str, Any]]]
# What is done to the answer of a change that others of this process must hear of.
Told = Callable[[Request, Principal, Response], Response]


def _untold(_request: Request, _principal: Principal, response: Response) -> Response:
    return response


@dataclass(frozen=True)
class Routes:
    """Adds routes of one resource to `router`. `model` is the resource on the wire; `singular` begins schema names."""

    router: Router
    readable: Readable
    model: type[BaseModel]
    singular: str
    plural: str

    def add_list(self, params: type[ListParams], says: str, fixed: Fixed | None = None) -> None:
        """`fixed` makes those filters that are not compared with their parameter as it stands."""
        readable = self.readable

        async def run(
            request: Request, principal: Any, tx: EdgeTransaction, params: Any, accept_language: Language = None
        ) -> Response:
            more = await fixed(tx, params) if fixed is not None else None
            return await reads.read_page(request, tx, principal, readable, params, accept_language, more)

        self._add("GET", "", "list", says, run, params=params, response_model=_several(Page, readable.model))

    def add_get(self, params: type[ReadParams], says: str) -> None:
        readable = self.readable

        async def run(
            request: Request,
            principal: Any,
            tx: EdgeTransaction,
            id_: Id,
            params: Any,
            accept_language: Language = None,
        ) -> Response:
            return await reads.read_one(request, tx, principal, readable, id_, params, accept_language)

        self._add("GET", "/{id}", "get", says, run, params=params, response_model=readable.model)

    def add_sync(self) -> None:
        readable = self.readable

        async def run(request: Request, principal: Any, tx: EdgeTransaction, params: Any) -> Response:
            body = await sync.changes(tx, principal, readable, params, request.app.state.cursors)
            return answer(body, headers={"ETag": sync.tag_of_changes(body)})

        says = sync.SAYS.format(plural=self.plural.lower())
        model = _several(sync.Changes, self.model)
        self._add(
            "GET", ":sync", "sync", says, run, params=sync.SyncParams, response_model=model, openapi_extra=sync.REFUSES
        )

    def add_create(self, body: type[BaseModel], create: Create, says: str) -> None:
        async def run(principal: Any, tx: EdgeTransaction, body: Any) -> Response:
            return self._made(await create(tx, principal, body))

        self._add("POST", "", "create", says, run, body=body, status_code=201)

    def add_patch(self, body: type[BaseModel], patch: Patch, says: str, told: Told = _untold) -> None:
        async def run(
            request: Request, principal: Any, tx: EdgeTransaction, id_: Id, body: Any, if_match: IfMatch = None
        ) -> Response:
            return told(request, principal, self._shown(await patch(tx, principal, id_, body, if_match)))

        self._add("PATCH", "/{id}", "update", says, run, body=body)

    def add_delete(self, says: str, delete: Delete | None = None) -> None:
        resource = self.readable.resource

        async def run(principal: Any, tx: EdgeTransaction, id_: Id, if_match: IfMatch = None) -> Response:
            if delete is not None:
                await delete(tx, principal, id_, if_match)
            else:
                await resources.delete(tx, principal, resource, id_, if_match)
            return no_content()

        self._add("DELETE", "/{id}", "delete", says, run, status_code=204, response_model=None)

    def add_restore(self, says: str, restore: Restore | None = None) -> None:
        resource = self.readable.resource

        async def run(principal: Any, tx: EdgeTransaction, id_: Id) -> Response:
            if restore is not None:
                return self._shown(await restore(tx, principal, id_))
            return self._shown(await resources.restore(tx, principal, resource, id_))

        self._add("POST", "/{id}:restore", "restore", says, run)

    def add_upsert(self, body: type[BaseModel], upsert: Upsert, says: str, told: Told = _untold) -> None:
        async def run(
            request: Request,
            principal: Any,
            tx: EdgeTransaction,
            source: ExternalText,
            external_id: ExternalText,
            body: Any,
            if_match: IfMatch = None,
        ) -> Response:
            if if_match is not None:
                await _replaces(tx, principal, self.readable.resource, source, external_id, if_match)
            row, is_new = await upsert(tx, principal, source, external_id, body)
            return self._made(row) if is_new else told(request, principal, self._shown(row))

        path = "/by-external-id/{source}/{external_id}"
        self._add("PUT", path, "upsert", says, run, body=body, responses=answers(201, self.model))

    def _add(
        self,
        method: str,
        path: str,
        verb: str,
        says: str,
        run: Callable[..., Any],
        params: type[BaseModel] | None = None,
        body: type[BaseModel] | None = None,
        **given: Any,
    ) -> None:
        """Adds one route. `run` is typed here with what depends on the resource: its caller, parameters and body."""
        scope = self.readable.resource.path.removeprefix("/v1/").replace("-", "_")
        types: dict[str, Any] = {
            "principal": Annotated[Principal, requires(f"{scope}:{'read' if method == 'GET' else 'write'}")],
            "params": Annotated[params, Query()],
            "body": body,
        }
        signature = inspect.signature(run)
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                each.replace(annotation=types.get(each.name, each.annotation))
                for each in signature.parameters.values()
                # Reads that hold no words have no language to be asked for.
                if each.name != "accept_language" or self.readable.spoken
            ]
        )
        name = self.plural if verb in {"list", "sync"} else self.singular
        self.router.add_api_route(
            path,
            run,
            methods=[method],
            operation_id=f"{verb}{name}",
            summary=f"{verb.title()} {name}",
            description=says,
            **{"response_model": self.model, **given},
        )

    def _shown(self, row: Row) -> Response:
        return answer(self.readable.resource.wire(row), version=row["version"])

    def _made(self, row: Row) -> Response:
        resource = self.readable.resource
        return created(resource.wire(row), f"{resource.path}/{row['id']}", row["version"])


async def _replaces(
    tx: Tx, principal: Principal, resource: Resource, source: str, external_id: str, if_match: str
) -> None:
    """Raises where the record that a PUT would replace has another version, or where there is none to replace."""
    before = await resources.find_external(tx, principal, resource, source, external_id)
    if before is None:
        raise PreconditionFailed("There is none with this external id, and If-Match asks to make none.")
    check_if_match(if_match, before["version"])


def _several(generic: Any, model: type[BaseModel]) -> Any:
    return generic[model]
