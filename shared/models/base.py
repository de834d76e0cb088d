"""Building blocks of the schema: every tenant table leads its keys with `workspace_id`.

So the schema distributes by workspace unchanged, row-level security finds its index, and a foreign key can
never reach into another workspace.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.schema import SchemaItem

SALES = "sales"
SCORING = "scoring"
EVENTS = "events"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_1_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def uuid_column(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, UUID(as_uuid=True), nullable=nullable)


def time_column(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """A check that holds a column to a closed set of values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def of_workspace(table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["workspace_id"], [f"{SALES}.workspaces.id"], name=f"fk_{table}_workspace")


def refers_to(column: str, target: str, schema: str = SALES) -> ForeignKeyConstraint:
    """A foreign key within the workspace: (workspace_id, column) to (workspace_id, id) of `target`."""
    return ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{schema}.{target}.workspace_id", f"{schema}.{target}.id"],
    )


def tenant_table(name: str, *items: SchemaItem, schema: str = SALES, key: tuple[str, ...] = ("id",)) -> Table:
    """A table of one workspace's rows, with the primary key (workspace_id, *key).

    No foreign key leads to the workspace itself: every insert would lock that one row, and row-level security
    already lets no other workspace's id in. `members` and `policies`, which make a workspace, have it.
    """
    own_id = [uuid_column("id")] if key == ("id",) else []
    return Table(
        name,
        metadata,
        uuid_column("workspace_id"),
        *own_id,
        *items,
        PrimaryKeyConstraint("workspace_id", *key),
        schema=schema,
    )


def recorded_columns() -> list[SchemaItem]:
    """The columns of every fact that can change: when it was so, when we learned it, and its version.

    `occurred_at` is when the fact came about, `recorded_at` when it entered the system (DOMAIN §14, two times).
    """
    return [
        Column("version", Integer, nullable=False, server_default=text("1")),
        time_column("occurred_at", nullable=False),
        time_column("recorded_at", nullable=False),
        time_column("updated_at", nullable=False),
    ]


def external_columns() -> list[SchemaItem]:
    """Where a fact came from elsewhere: its source system and the id it has there."""
    return [
        Column("external_source", Text),
        Column("external_id", Text),
        CheckConstraint("(external_source IS NULL) = (external_id IS NULL)", name="external_id_whole"),
    ]
