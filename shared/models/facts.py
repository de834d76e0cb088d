"""What is known of buyers: customers, contacts, products, interactions, tasks, and attributes of one's own."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Date, Float, Index, Integer, Numeric, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import SchemaItem

from shared.models.base import (
    external_columns,
    one_of,
    recorded_columns,
    refers_to,
    tenant_table,
    time_column,
    uuid_column,
)


def by_external_id(table: str) -> Index:
    return Index(
        f"uq_{table}_external",
        "workspace_id",
        "external_source",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    )


def fact_columns() -> list[SchemaItem]:
    """Columns of a fact that can be imported, deleted softly and restored."""
    return [
        *external_columns(),
        Column("historical", Boolean, nullable=False, server_default=text("false")),
        *recorded_columns(),
        time_column("deleted_at"),
    ]


attribute_definitions = tenant_table(
    "attribute_definitions",
    Column("subject", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label_en", Text, nullable=False),
    Column("label_zh_hans", Text),
    Column("categories", ARRAY(Text)),
    Column("required", Boolean, nullable=False, server_default=text("false")),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    # How its values count in the prior: log-odds per unit, per category, when true, or a day.
    Column("model_input", JSONB(none_as_null=True)),
    *recorded_columns(),
    one_of("subject", ("customer", "opportunity")),
    one_of("kind", ("number", "category", "boolean", "date", "text")),
    UniqueConstraint("workspace_id", "subject", "key", name="uq_attribute_definitions_key"),
)

customers = tenant_table(
    "customers",
    Column("name", Text, nullable=False),
    Column("sort_key", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default=text("'organisation'")),
    uuid_column("owner_id", nullable=True),
    Column("phone", Text),
    Column("email", Text),
    Column("website", Text),
    Column("address", Text),
    Column("industry", Text),
    Column("source", Text),
    Column("tier", Text),
    Column("notes", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    time_column("owner_changed_at"),
    # Why the customer came to its present owner, in the words of the manager who handed it over.
    Column("owner_reason", Text),
    *fact_columns(),
    one_of("kind", ("organisation", "household")),
    refers_to("owner_id", "members"),
    by_external_id("customers"),
    Index("ix_customers_owner", "workspace_id", "owner_id"),
    Index("ix_customers_name", "workspace_id", "sort_key", "id"),
    Index("ix_customers_updated", "workspace_id", "updated_at", "id"),
    Index("ix_customers_deleted", "workspace_id", "id", postgresql_where=text("deleted_at IS NOT NULL")),
)

contacts = tenant_table(
    "contacts",
    uuid_column("customer_id"),
    Column("name", Text, nullable=False),
    Column("sort_key", Text, nullable=False),
    Column("title", Text),
    Column("function", Text),
    Column("level", Text),
    Column("personality", Text),
    Column("is_coach", Boolean, nullable=False, server_default=text("false")),
    Column("is_external", Boolean, nullable=False, server_default=text("false")),
    Column("phone", Text),
    Column("email", Text),
    Column("birthday", Date),
    Column("notes", Text),
    *fact_columns(),
    refers_to("customer_id", "customers"),
    by_external_id("contacts"),
    Index("ix_contacts_customer", "workspace_id", "customer_id"),
    Index("ix_contacts_name", "workspace_id", "sort_key", "id"),
    Index("ix_contacts_updated", "workspace_id", "updated_at", "id"),
)

products = tenant_table(
    "products",
    Column("name", Text, nullable=False),
    Column("code", Text),
    Column("series", Text),
    Column("list_price", Numeric(18, 4)),
    Column("currency", Text),
    Column("margin_rate", Float),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    *fact_columns(),
    by_external_id("products"),
    Index("ix_products_updated", "workspace_id", "updated_at", "id"),
)

interactions = tenant_table(
    "interactions",
    uuid_column("customer_id"),
    uuid_column("opportunity_id", nullable=True),
    uuid_column("member_id", nullable=True),
    Column("kind", Text, nullable=False),
    Column("direction", Text, nullable=False, server_default=text("'two_way'")),
    Column("purpose", Text),
    Column("purpose_reached", Boolean),
    Column("summary", Text),
    Column("place", Text),
    Column("setting_quality", Text),
    Column("minutes", Integer),
    Column("cost", Numeric(18, 4)),
    Column("currency", Text),
    Column("signals", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("confidence", Float),
    Column("foreseen", Text),
    Column("foreseen_came_true", Boolean),
    Column("customer_rating", Integer),
    *fact_columns(),
    refers_to("customer_id", "customers"),
    refers_to("opportunity_id", "opportunities"),
    refers_to("member_id", "members"),
    one_of("direction", ("two_way", "inbound", "outbound")),
    by_external_id("interactions"),
    Index("ix_interactions_customer", "workspace_id", "customer_id", "occurred_at"),
    Index("ix_interactions_opportunity", "workspace_id", "opportunity_id", "occurred_at"),
    Index("ix_interactions_occurred", "workspace_id", "occurred_at", "id"),
    Index("ix_interactions_updated", "workspace_id", "updated_at", "id"),
)

interaction_contacts = tenant_table(
    "interaction_contacts",
    uuid_column("interaction_id"),
    uuid_column("contact_id"),
    refers_to("interaction_id", "interactions"),
    refers_to("contact_id", "contacts"),
    Index("ix_interaction_contacts_contact", "workspace_id", "contact_id"),
    key=("interaction_id", "contact_id"),
)

tasks = tenant_table(
    "tasks",
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("notes", Text),
    uuid_column("assignee_id", nullable=True),
    uuid_column("customer_id", nullable=True),
    uuid_column("opportunity_id", nullable=True),
    uuid_column("interaction_id", nullable=True),
    Column("due_on", Date),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    time_column("completed_at"),
    Column("kept", Boolean),
    # The latest day of which somebody was told that it has passed.
    Column("overdue_told_on", Date),
    *fact_columns(),
    one_of("kind", ("promise", "next_step", "stage_work", "greeting", "other")),
    one_of("status", ("open", "done", "cancelled")),
    refers_to("assignee_id", "members"),
    refers_to("customer_id", "customers"),
    refers_to("opportunity_id", "opportunities"),
    refers_to("interaction_id", "interactions"),
    by_external_id("tasks"),
    Index("ix_tasks_opportunity", "workspace_id", "opportunity_id"),
    Index("ix_tasks_customer", "workspace_id", "customer_id"),
    Index("ix_tasks_assignee", "workspace_id", "assignee_id", "due_on", postgresql_where=text("status = 'open'")),
    Index("ix_tasks_updated", "workspace_id", "updated_at", "id"),
    Index(
        "ix_tasks_untold",
        "workspace_id",
        "due_on",
        "id",
        postgresql_where=text(
            "status = 'open' AND deleted_at IS NULL AND due_on IS NOT NULL"
            " AND (overdue_told_on IS NULL OR due_on > overdue_told_on)"
        ),
    ),
)
