"""Rules of webhook endpoints: what one may be, what its keys do when they are replaced, how it is held and let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from services.api import resources
from services.api.delivery.addresses import Rules
from services.api.errors import Conflict, invalid
from services.api.resources import changes_of
from services.api.settings import ApiSettings
from services.api.webhooks import keys, makers, redelivery, validation
from services.api.webhooks.keys import NewKey
from services.api.webhooks.resource import ENDPOINTS
from services.api.webhooks.schemas import WebhookEndpointCreate, WebhookEndpointPatch, WebhookSecretRotation
from services.api.webhooks.secrets import Sealed, Unreadable, Vault, vault_of
from services.api.webhooks.signing import ED25519, HMAC
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry
from shared.ids import new_id
from shared.tenancy import Principal

# From here on the workspace's events are handed out. Where nobody was told so far, what has happened is not told
# either: `replay-missing` does that. The row is locked either way, so that endpoints are counted one after another.
BEGIN_RELAY = sql(
    """
    INSERT INTO events.relay_positions AS p (workspace_id, seen, updated_at)
    VALUES (:workspace_id, pg_current_snapshot()::text, :now)
    ON CONFLICT (workspace_id) DO UPDATE SET seen = excluded.seen, cluster = excluded.cluster,
      updated_at = excluded.updated_at
    WHERE NOT EXISTS (SELECT FROM events.webhook_endpoints e WHERE e.workspace_id = :workspace_id AND NOT e.disabled)
    """
)
COUNT = sql("SELECT count(*) FROM events.webhook_endpoints WHERE workspace_id = :workspace_id")
FORGIVE = sql(
    "UPDATE events.webhook_endpoint_states SET failing_since = NULL, last_failure_at = NULL, alerted = 0,"
    " breaker = 'closed', breaker_until = NULL, breaker_openings = 0, window_started_at = NULL, window_attempts = 0,"
    " window_failures = 0, updated_at = :now WHERE workspace_id = :workspace_id AND endpoint_id = :id"
)
DROP_KEYS = sql(
    "DELETE FROM events.webhook_secrets WHERE workspace_id = :workspace_id AND endpoint_id = :id"
    " AND NOT kind = ANY(CAST(:kept AS text[]))"
)
# Everybody locks in one order: the endpoint, its state, its deliveries by id, their places in the queue, its jobs.
# Whoever writes outcomes down may be at it at the same time: each waits for the other, and never both.
DROP_STATE = sql("DELETE FROM events.webhook_endpoint_states WHERE workspace_id = :workspace_id AND endpoint_id = :id")
# Of a very long queue the engine skips the rest, for it finds no endpoint to it.
SKIP = sql(
    """
    WITH waiting AS MATERIALIZED (
      SELECT delivery_id, event_recorded_at FROM events.webhook_queue
      WHERE workspace_id = :workspace_id AND endpoint_id = :id ORDER BY delivery_id LIMIT 10000
    ), locked AS MATERIALIZED (
      SELECT d.id, d.event_recorded_at FROM waiting w JOIN events.webhook_deliveries d
        ON d.workspace_id = :workspace_id AND d.id = w.delivery_id AND d.event_recorded_at = w.event_recorded_at
      WHERE d.status = 'pending' ORDER BY d.id FOR UPDATE OF d
    )
    UPDATE events.webhook_deliveries d SET status = 'skipped', last_error = 'The endpoint was deleted.',
      next_attempt_at = NULL, updated_at = :now
    FROM locked l WHERE d.workspace_id = :workspace_id AND d.id = l.id AND d.event_recorded_at = l.event_recorded_at
    """
)
REMOVE = sql(
    """
    WITH keys AS (
      DELETE FROM events.webhook_secrets WHERE workspace_id = :workspace_id AND endpoint_id = :id
    )
    UPDATE events.webhook_jobs SET cancel_requested = true, updated_at = :now, version = version + 1
    WHERE workspace_id = :workspace_id AND endpoint_id = :id AND status IN ('queued', 'running')
    """
)
DELETE = sql("DELETE FROM events.webhook_endpoints WHERE workspace_id = :workspace_id AND id = :id")
ROTATED = sql(
    "UPDATE events.webhook_endpoints SET version = version + 1, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id RETURNING *"
)
_NOT_NULL = ("url", "event_types", "thin", "signatures", "timeout_seconds", "metadata", "disabled")


@dataclass(frozen=True, slots=True)
class Means:
    """What this installation allows, and encrypts with."""

    vault: Vault
    rules: Rules
    most_endpoints: int


@lru_cache(maxsize=8)
def means_of(settings: ApiSettings) -> Means:
    return Means(vault_of(settings), validation.rules_of(settings), settings.webhook_endpoints)


async def create(tx: Tx, principal: Principal, body: WebhookEndpointCreate, means: Means) -> tuple[Row, str]:
    """A new endpoint, and its key in words."""
    validation.check_url(body.url, means.rules)
    validation.check_event_types(body.event_types)
    makers.check_may_tell(principal, principal.role, body.event_types)
    new_keys = _first_keys(body)
    values = body.model_dump(exclude={"headers", "key"})
    await validation.check_references(tx, values)
    await tx.run(BEGIN_RELAY, now=tx.now)
    if await tx.value(COUNT) >= means.most_endpoints:
        raise Conflict(f"A workspace may have {means.most_endpoints} webhook endpoints: delete one first.")
    values["id"] = body.id or new_id()
    values |= _sealed_headers(tx, means.vault, values["id"], body.headers)
    values |= {"created_by": principal.member_id}
    if body.disabled:
        values |= {"disabled_reason": "requested", "disabled_at": tx.now}
    row = await resources.create(tx, ENDPOINTS, values)
    await keys.store(tx, means.vault, row["id"], new_keys)
    return row, _in_words(new_keys)


def _first_keys(body: WebhookEndpointCreate) -> list[NewKey]:
    given = keys.parse_key(body.key, "/key") if body.key is not None else None
    if given is not None and given.kind not in body.signatures:
        raise invalid("/key", "other_signature", f"This is a key of {given.kind}, which is not among the signatures.")
    return [given if given is not None and given.kind == kind else keys.make_key(kind) for kind in body.signatures]


def _in_words(new_keys: Sequence[NewKey]) -> str:
    first = min(new_keys, key=lambda each: each.kind)
    return keys.in_words(first.kind, first.private, first.public)


def _sealed_headers(tx: Tx, vault: Vault, endpoint_id: UUID, headers: dict[str, str] | None) -> dict[str, Any]:
    """The columns of an endpoint's headers: their names in the open, all else encrypted."""
    if not headers:
        return {"headers_encrypted": None, "headers_key_id": None, "header_names": []}
    sealed = vault.seal(orjson.dumps(validation.check_headers(headers)), tx.workspace_id, endpoint_id)
    return {
        "headers_encrypted": sealed.ciphertext,
        "headers_key_id": sealed.key_id,
        "header_names": sorted(headers, key=str.lower),
    }


def opened_headers(vault: Vault, row: Row) -> dict[str, str]:
    """The headers that go along with an endpoint's deliveries (a row of `events.webhook_endpoints`)."""
    if row["headers_encrypted"] is None:
        return {}
    sealed = Sealed(row["headers_key_id"], row["headers_encrypted"])
    headers: dict[str, str] = orjson.loads(vault.open(sealed, row["workspace_id"], row["id"]))
    return headers


async def patch(
    tx: Tx, principal: Principal, id_: UUID, body: WebhookEndpointPatch, if_match: str | None, means: Means
) -> Row:
    """Changes an endpoint. What is not yet delivered goes by the new settings."""
    changes = changes_of(body, not_null=_NOT_NULL)
    if "url" in changes:
        validation.check_url(changes["url"], means.rules)
    if "event_types" in changes:
        validation.check_event_types(changes["event_types"])
    await validation.check_references(tx, changes)
    before = await resources.fetch(tx, principal, ENDPOINTS, id_, lock=True)
    check_if_match(if_match, before["version"])
    let_go = before["disabled"] and changes.get("disabled") is False
    changes |= await makers.successor(tx, principal, before, changes, let_go=let_go)
    if "headers" in changes:
        changes |= _sealed_headers(tx, means.vault, id_, changes.pop("headers"))
    if "signatures" in changes:
        await _change_signatures(tx, means.vault, before, changes["signatures"])
    action = "updated"
    if "disabled" in changes and changes["disabled"] != before["disabled"]:
        action = "disabled" if changes["disabled"] else "enabled"
        changes |= await (_held(tx) if changes["disabled"] else _let_go(tx, id_))
    row = await resources.change(tx, ENDPOINTS, before, changes, action=action)
    if row["thin"] != before["thin"]:
        await redelivery.change_edition(tx, row)
    if action == "disabled":
        # As the engine tells it, which has reasons of its own.
        tx.effects.events[-1].data["reason"] = row["disabled_reason"]
    return row


async def _held(tx: Tx) -> dict[str, Any]:
    return {"disabled": True, "disabled_reason": "requested", "disabled_at": tx.now}


async def _let_go(tx: Tx, id_: UUID) -> dict[str, Any]:
    """Begins anew: what failed before does not count, and what waited is delivered."""
    await tx.run(BEGIN_RELAY, now=tx.now)
    await tx.run(FORGIVE, id=id_, now=tx.now)
    return {"disabled": False, "disabled_reason": None, "disabled_at": None}


async def _change_signatures(tx: Tx, vault: Vault, before: Row, wanted: Sequence[str]) -> None:
    """A kind that is new gets a key; keys of a kind that goes are deleted at once."""
    added = [kind for kind in wanted if kind not in before["signatures"]]
    if set(before["signatures"]) - set(wanted):
        await tx.run(DROP_KEYS, id=before["id"], kept=list(wanted))
    if added:
        await keys.store(tx, vault, before["id"], [keys.make_key(kind) for kind in added])


async def enable(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Lets a disabled endpoint go; one that is enabled stays as it is. Whoever lets an orphan go answers for it."""
    before = await resources.fetch(tx, principal, ENDPOINTS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if not before["disabled"]:
        return before
    taken = await makers.successor(tx, principal, before, {}, let_go=True)
    return await resources.change(tx, ENDPOINTS, before, taken | await _let_go(tx, id_), action="enabled")


async def delete(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> None:
    """Deletes an endpoint with its keys. What still waited for it is skipped; its attempts are kept a while."""
    before = await resources.fetch(tx, principal, ENDPOINTS, id_, lock=True)
    check_if_match(if_match, before["version"])
    await tx.run(DROP_STATE, id=id_)
    await tx.run(SKIP, id=id_, now=tx.now)
    await tx.run(REMOVE, id=id_, now=tx.now)
    await tx.run(DELETE, id=id_)
    resources.note(tx, ENDPOINTS, "deleted", before, before)


async def show_secret(tx: Tx, principal: Principal, id_: UUID, means: Means) -> dict[str, Any]:
    """All keys that sign now, in words; who asked stands in the audit trail."""
    row = await resources.fetch(tx, principal, ENDPOINTS, id_)
    tx.effects.audit.append(AuditEntry("endpoint.secret_read", "endpoint", id_, row["version"], {}))
    try:
        shown = [keys.shown(means.vault, tx.workspace_id, key) for key in await keys.good(tx, [id_])]
    except Unreadable:
        raise Conflict("The key was encrypted with one that this installation no longer has: rotate it.") from None
    present = {each["kind"]: each["key"] for each in shown if each["expires_at"] is None}
    return {"key": present.get(HMAC) or present[ED25519], "public_key": present.get(ED25519), "keys": shown}


async def rotate_secret(
    tx: Tx, principal: Principal, id_: UUID, body: WebhookSecretRotation, if_match: str | None, means: Means
) -> Row:
    """Replaces the present keys, which sign beside the new ones until their grace ends."""
    given = keys.parse_key(body.key, "/key") if body.key is not None else None
    before = await resources.fetch(tx, principal, ENDPOINTS, id_, lock=True)
    check_if_match(if_match, before["version"])
    kinds = [body.signature] if body.signature is not None else before["signatures"]
    if given is not None:
        kinds = [given.kind] if body.signature in {None, given.kind} else []
    if not kinds or not set(kinds) <= set(before["signatures"]):
        pointer = "/key" if given is not None else "/signature"
        raise invalid(pointer, "other_signature", "The endpoint does not sign in this way: see its signatures.")
    new_keys = [given] if given is not None else [keys.make_key(kind) for kind in kinds]
    grace = timedelta(seconds=body.grace_period_seconds)
    await keys.replace(tx, means.vault, id_, new_keys, grace, await keys.good(tx, [id_]))
    # The version counts it, though nothing else of the endpoint changes.
    row = await tx.row(ROTATED, id=id_, now=tx.now)
    assert row is not None  # noqa: S101 - it was locked above
    resources.note(tx, ENDPOINTS, "secret_rotated", before, row)
    return row
