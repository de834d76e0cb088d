"""Who is calling, and what of a workspace they may see.

Identity is a value in every service's signature; a tenant query starts with `scoped(table, principal.reach)`, which
bounds it to the workspace and to what the caller may see. Row-level security in PostgreSQL stands behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, bindparam, exists, false, literal, or_, select
from sqlalchemy.dialects import postgresql

from shared.models import customers, interactions, opportunities, opportunity_members, tasks

WORKSPACE = bindparam("workspace_id", type_=postgresql.UUID(as_uuid=True))
_ME = bindparam("me", type_=postgresql.UUID(as_uuid=True))
_OWNERS = bindparam("owner_ids", type_=postgresql.ARRAY(postgresql.UUID(as_uuid=True)))


class Reach(StrEnum):
    """How far a caller sees: the whole workspace, a team (and what nobody owns yet), or own and shared records."""

    ALL = "all"
    TEAM = "team"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class TokenOrigin:
    """The token of an identity provider that somebody came by: whom it names, its own name, how long it is good."""

    issuer: str
    subject: str
    jti: str | None
    good_until: datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """A member acting in a workspace. `owner_ids` are the members whose records a manager sees (self included).

    They act by a key, by a session of a login, or by a token of an identity provider.
    """

    workspace_id: UUID
    member_id: UUID
    role: str
    reach: Reach
    scopes: frozenset[str]
    owner_ids: tuple[UUID, ...] = ()
    name: str = ""
    key_id: UUID | None = None
    session_id: UUID | None = None
    token: TokenOrigin | None = field(default=None, repr=False)
    binds: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seen = {
            Reach.ALL: {},
            Reach.OWN: {"me": self.member_id},
            Reach.TEAM: {"me": self.member_id, "owner_ids": list(self.owner_ids)},
        }
        object.__setattr__(self, "binds", seen[self.reach])

    def may_see_owner(self, owner_id: UUID | None) -> bool:
        """Whether records owned by `owner_id` are this caller's to see (sharing aside)."""
        if self.reach is Reach.ALL:
            return True
        if self.reach is Reach.TEAM:
            return owner_id is None or owner_id in self.owner_ids
        return owner_id == self.member_id


def scoped(table: Table, reach: Reach, *columns: ColumnElement[Any]) -> Select[Any]:
    """A select from a tenant table, bounded to the workspace and to the caller's reach.

    Parameters to fill when it runs: `workspace_id`, and `principal.binds`.
    """
    query = select(*(columns or table.c)).where(table.c.workspace_id == WORKSPACE)
    seen = visible(table, reach)
    return query if seen is None else query.where(seen)


def visible(table: Table, reach: Reach) -> ColumnElement[bool] | None:
    """The condition under which a row of `table` is within reach; None where every row is."""
    if reach is Reach.ALL:
        return None
    if table is opportunities:
        return _opportunity_visible(reach)
    if table is customers:
        shared = exists().where(
            opportunities.c.workspace_id == customers.c.workspace_id,
            opportunities.c.customer_id == customers.c.id,
            opportunities.c.deleted_at.is_(None),
            _opportunity_visible(reach),
        )
        return or_(owned(customers, reach), shared)
    if table is tasks:
        return or_(tasks.c.assignee_id == _ME, _through(table, reach))
    if "customer_id" in table.c:
        return _through(table, reach)
    if "owner_id" in table.c:
        return owned(table, reach)
    return None


def owned(table: Table, reach: Reach) -> ColumnElement[bool]:
    """Whether its owner is one whose records the caller sees; of a reach that is not ALL."""
    if reach is Reach.OWN:
        return table.c.owner_id == _ME
    return or_(table.c.owner_id == _OWNERS.any_(), table.c.owner_id.is_(None))


def _opportunity_visible(reach: Reach) -> ColumnElement[bool]:
    taking_part = exists().where(
        opportunity_members.c.workspace_id == opportunities.c.workspace_id,
        opportunity_members.c.opportunity_id == opportunities.c.id,
        opportunity_members.c.member_id == _ME,
    )
    return or_(owned(opportunities, reach), taking_part)


def _through(table: Table, reach: Reach) -> ColumnElement[bool]:
    """Rows that belong to a customer (or to an opportunity of theirs) are seen by whoever sees that."""
    seen = visible(customers, reach)
    by_customer = exists().where(
        customers.c.workspace_id == table.c.workspace_id,
        customers.c.id == table.c.customer_id,
        literal(True) if seen is None else seen,
    )
    if table is not interactions and table is not tasks:
        return by_customer
    by_opportunity: ColumnElement[bool] = exists().where(
        opportunities.c.workspace_id == table.c.workspace_id,
        opportunities.c.id == table.c.opportunity_id,
        opportunities.c.deleted_at.is_(None),
        _opportunity_visible(reach) if reach is not Reach.ALL else false(),
    )
    return or_(by_customer, by_opportunity)
