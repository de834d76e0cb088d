"""Who works here: workspaces, members, teams, API keys, and the workspace's policy."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from shared.models.base import (
    SALES,
    external_columns,
    metadata,
    of_workspace,
    one_of,
    recorded_columns,
    refers_to,
    tenant_table,
    time_column,
    uuid_column,
)

ROLES = ("admin", "manager", "rep", "viewer", "integration")

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("time_zone", Text, nullable=False, server_default=text("'UTC'")),
    Column("locale", Text, nullable=False, server_default=text("'en'")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("id"),
    schema=SALES,
)

members = tenant_table(
    "members",
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    # A rep's own capacities; null takes the workspace policy's.
    Column("engage_capacity", Integer),
    Column("track_capacity", Integer),
    Column("monitor_capacity", Integer),
    *external_columns(),
    *recorded_columns(),
    one_of("role", ROLES),
    of_workspace("members"),
    Index(
        "uq_members_email",
        "workspace_id",
        text("lower(email)"),
        unique=True,
        postgresql_where=text("email IS NOT NULL"),
    ),
    # Whose a verified e-mail is, before a workspace has been entered.
    Index("ix_members_person", text("lower(email)"), postgresql_where=text("email IS NOT NULL")),
    Index(
        "uq_members_external",
        "workspace_id",
        "external_source",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
)

teams = tenant_table(
    "teams",
    Column("name", Text, nullable=False),
    uuid_column("manager_id", nullable=True),
    *recorded_columns(),
    refers_to("manager_id", "members"),
    Index("uq_teams_name", "workspace_id", text("lower(name)"), unique=True),
)

team_members = tenant_table(
    "team_members",
    uuid_column("team_id"),
    uuid_column("member_id"),
    refers_to("team_id", "teams"),
    refers_to("member_id", "members"),
    Index("ix_team_members_member", "workspace_id", "member_id"),
    key=("team_id", "member_id"),
)

api_keys = tenant_table(
    "api_keys",
    uuid_column("member_id"),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("last4", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    time_column("expires_at"),
    time_column("revoked_at"),
    time_column("last_used_at"),
    *recorded_columns(),
    refers_to("member_id", "members"),
)

policies = tenant_table(
    "policies",
    Column("document", JSONB, nullable=False),
    *recorded_columns(),
    of_workspace("policies"),
    CheckConstraint("id = workspace_id", name="one_a_workspace"),
)
