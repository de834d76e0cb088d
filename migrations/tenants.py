"""What every table of a workspace needs beside its columns."""

from __future__ import annotations

from alembic import op

# The one form of the tenant check: an InitPlan (evaluated once a statement), and no row where nothing is set.
TENANT = "(SELECT nullif(current_setting('app.workspace_id', true), '')::uuid)"


def protect(table: str, *grants: str) -> None:
    """Row-level security on `schema.table`, forced on its owner too; `grants` are like "SELECT, INSERT TO role"."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY own_workspace ON {table} USING (workspace_id = {TENANT}) WITH CHECK (workspace_id = {TENANT})"
    )
    for grant in grants:
        rights, _, roles = grant.partition(" TO ")
        op.execute(f"GRANT {rights} ON {table} TO {roles}")
