"""Duties around webhooks: redeliveries that were asked for, and secrets under an old encryption key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog

from services.api.webhooks import jobs
from services.api.webhooks.keys import opened
from services.api.webhooks.secrets import Sealed, Unreadable, Vault
from shared.clock import Clock
from shared.db import Database, Tx, sql

log = structlog.get_logger(__name__)

REENCRYPT_SECONDS: Final = 600.0
# One job's pages at a time, so that many jobs share a worker.
_PAGES: Final = 10
_AT_ONCE: Final = 100
_STALE: Final = "SELECT workspace_id, endpoint_id FROM events.stale_webhook_secrets($1, $2)"
SECRETS = sql(
    "SELECT id, key_id, ciphertext FROM events.webhook_secrets WHERE workspace_id = :workspace_id"
    " AND endpoint_id = :id AND key_id <> :present FOR UPDATE"
)
HEADERS = sql(
    "SELECT id, headers_key_id, headers_encrypted FROM events.webhook_endpoints WHERE workspace_id = :workspace_id"
    " AND id = :id AND headers_key_id <> :present FOR UPDATE"
)
PUT_SECRETS = sql(
    "UPDATE events.webhook_secrets s SET key_id = :present, ciphertext = g.ciphertext"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:ciphertexts AS bytea[])) AS g(id, ciphertext)"
    " WHERE s.workspace_id = :workspace_id AND s.id = g.id"
)
PUT_HEADERS = sql(
    "UPDATE events.webhook_endpoints SET headers_key_id = :present, headers_encrypted = :ciphertext"
    " WHERE workspace_id = :workspace_id AND id = :id"
)


def _nothing() -> None:
    """Nobody watches."""


class WebhookJobs:
    """Works jobs off in turns; `work` is a duty. `tell` is called where deliveries may have become due."""

    def __init__(self, database: Database, clock: Clock, tell: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        # Called with every job: their pages take a while.
        self.beat: Callable[[], None] = _nothing

    async def work(self) -> bool:
        """Some pages of each job that waits; True where any was worked on."""
        worked = False
        for workspace_id, job_id in await jobs.due(self._database, self._clock):
            self.beat()
            if await jobs.Run(self._database, self._clock, workspace_id, job_id).work(_PAGES):
                worked = True
                self._tell()
        return worked


class Reencryption:
    """Encrypts anew, with the first of the installation's keys, what an older one encrypted; `work` is a duty."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        # What can't be read is told once, and left to whoever mends the settings.
        self._unreadable: set[UUID] = set()

    async def work(self) -> bool:
        """Some endpoints; True where there are more."""
        rows = await self._database.fetch(_STALE, self._vault.present, _AT_ONCE + len(self._unreadable))
        wanted = [row for row in rows if row["endpoint_id"] not in self._unreadable]
        for row in wanted:
            async with self._database.transaction(row["workspace_id"]) as tx:
                try:
                    await self._again(tx, row["endpoint_id"])
                except Unreadable:
                    self._unreadable.add(row["endpoint_id"])
                    log.exception("webhook_secret_unreadable", endpoint_id=str(row["endpoint_id"]))
        if wanted:
            log.info("webhook_secrets_encrypted_anew", endpoints=len(wanted))
        return len(wanted) == _AT_ONCE

    async def _again(self, tx: Tx, endpoint_id: UUID) -> None:
        vault, present = self._vault, self._vault.present
        secrets = await tx.rows(SECRETS, id=endpoint_id, present=present)
        sealed = [vault.seal(opened(vault, tx.workspace_id, row), tx.workspace_id, row["id"]) for row in secrets]
        headers = await tx.row(HEADERS, id=endpoint_id, present=present)
        if secrets:
            ids, ciphertexts = [row["id"] for row in secrets], [each.ciphertext for each in sealed]
            await tx.run(PUT_SECRETS, present=present, ids=ids, ciphertexts=ciphertexts)
        if headers is not None:
            old = Sealed(headers["headers_key_id"], headers["headers_encrypted"])
            plain = vault.open(old, tx.workspace_id, endpoint_id)
            new = vault.seal(plain, tx.workspace_id, endpoint_id)
            await tx.run(PUT_HEADERS, id=endpoint_id, present=present, ciphertext=new.ciphertext)
