"""Logins through identity providers."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.models.base import refers_to, tenant_table, time_column, uuid_column

# Who a member is to an issuer. A link that was ended stays, so that its subject does not come back by e-mail.
member_identities = tenant_table(
    "member_identities",
    uuid_column("member_id"),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    time_column("recorded_at", nullable=False),
    time_column("last_used_at"),
    time_column("unlinked_at"),
    refers_to("member_id", "members"),
    Index("uq_member_identities_subject", "workspace_id", "issuer", "subject", unique=True),
    Index(
        "uq_member_identities_member",
        "workspace_id",
        "member_id",
        "issuer",
        unique=True,
        postgresql_where=text("unlinked_at IS NULL"),
    ),
    Index("ix_member_identities_person", "issuer", "subject"),
)

# Only digests of the tokens are stored. A refresh token that was used before ends its session.
sessions = tenant_table(
    "sessions",
    uuid_column("member_id"),
    Column("issuer", Text, nullable=False),
    Column("access_hash", LargeBinary, nullable=False),
    time_column("access_expires_at", nullable=False),
    Column("refresh_hash", LargeBinary, nullable=False),
    Column("used_hashes", ARRAY(LargeBinary), nullable=False, server_default=text("'{}'")),
    time_column("refresh_expires_at", nullable=False),
    time_column("expires_at", nullable=False),
    time_column("revoked_at"),
    time_column("recorded_at", nullable=False),
    time_column("updated_at", nullable=False),
    refers_to("member_id", "members"),
    Index("ix_sessions_member", "workspace_id", "member_id"),
)

# Tokens of issuers that were given back before they ran out. A token may be good in several workspaces, so that these
# rows are nobody's: they stand under the nil UUID, which is no workspace's.
revoked_tokens = tenant_table(
    "revoked_tokens",
    Column("issuer", Text, nullable=False),
    Column("jti", Text, nullable=False),
    time_column("expires_at", nullable=False),
    Index("ix_revoked_tokens_expiry", "workspace_id", "expires_at"),
    key=("issuer", "jti"),
)
