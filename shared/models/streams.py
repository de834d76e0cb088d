"""Tickets with which a browser, which can't send headers with an EventSource, opens a live stream."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.models.base import EVENTS, tenant_table, time_column, uuid_column

# Only a digest is stored; redeeming one deletes it. One that was made with a token of an identity provider says which.
stream_tickets = tenant_table(
    "stream_tickets",
    Column("digest", LargeBinary, nullable=False),
    uuid_column("member_id"),
    uuid_column("key_id", nullable=True),
    uuid_column("session_id", nullable=True),
    Column("scopes", ARRAY(Text), nullable=False),
    time_column("expires_at", nullable=False),
    Column("issuer", Text, nullable=True),
    Column("subject", Text, nullable=True),
    Column("jti", Text, nullable=True),
    time_column("token_good_until", nullable=True),
    Index("ix_stream_tickets_expiry", "workspace_id", "expires_at"),
    schema=EVENTS,
    key=("digest",),
)
