"""Keys of endpoints: encrypted where they stand, shown to whoever may, replaced with grace, moved to new keys."""

from __future__ import annotations

import base64
import os
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from nacl.signing import SigningKey as NaclKey
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from services.api.jobs.webhook_jobs import Reencryption
from services.api.settings import ApiSettings
from services.api.webhooks import keys
from services.api.webhooks.secrets import Sealed, Unreadable, Vault, derived_key, key_id, parse_keys, vault_of
from services.api.webhooks.service import opened_headers
from services.api.webhooks.signing import signed_headers
from shared.db import sql
from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.webhooks import ENDPOINTS, make_endpoint

BODY = b'{"type":"opportunity.won"}'
ENDPOINT = sql("SELECT * FROM events.webhook_endpoints WHERE workspace_id = :workspace_id AND id = :id")
AGED = sql(
    "UPDATE events.webhook_secrets SET expires_at = expires_at - make_interval(secs => :seconds)"
    " WHERE workspace_id = :workspace_id AND expires_at IS NOT NULL"
)


class TestVault:
    """AES-256-GCM, bound to workspace and row."""

    def test_what_is_sealed_opens_in_its_own_row_alone(self) -> None:
        vault = Vault([os.urandom(32)])
        workspace_id, row_id = new_id(), new_id()
        sealed = vault.seal(b"secret", workspace_id, row_id)
        assert b"secret" not in sealed.ciphertext
        assert vault.open(sealed, workspace_id, row_id) == b"secret"
        assert vault.seal(b"secret", workspace_id, row_id).ciphertext != sealed.ciphertext
        for place in ((workspace_id, new_id()), (new_id(), row_id)):
            with pytest.raises(Unreadable):
                vault.open(sealed, *place)
        spoilt = Sealed(sealed.key_id, sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1]))
        with pytest.raises(Unreadable):
            vault.open(spoilt, workspace_id, row_id)

    def test_a_new_first_key_encrypts_and_the_old_one_still_reads(self) -> None:
        old, new = os.urandom(32), os.urandom(32)
        place = new_id(), new_id()
        sealed = Vault([old]).seal(b"secret", *place)
        both = Vault([new, old])
        assert both.open(sealed, *place) == b"secret"
        assert both.seal(b"secret", *place).key_id == key_id(new) == both.present
        with pytest.raises(Unreadable, match="SIXTEEN_ENCRYPTION_KEYS"):
            Vault([new]).open(sealed, *place)

    def test_keys_are_read_from_the_settings_and_never_repeated_in_errors(self) -> None:
        good = base64.b64encode(os.urandom(32)).decode()
        assert len(parse_keys(f" {good} , {good}")) == 2
        assert parse_keys("") == []
        for wrong in ("hunter2hunter2", base64.b64encode(b"short").decode()):
            with pytest.raises(ValueError, match="key 2") as refused:
                parse_keys(f"{good},{wrong}")
            assert wrong not in str(refused.value)

    def test_wrong_keys_are_found_at_the_start(self, api_settings: ApiSettings) -> None:
        given = {**api_settings.model_dump(), "encryption_keys": "hunter2hunter2"}
        with pytest.raises(ValidationError) as refused:
            ApiSettings(**given)
        assert "key 1 is not base64 of 32 bytes" in str(refused.value)
        assert "hunter2hunter2" not in str(refused.value)


def signed(caller: Caller, rows: list[Any], at: Any) -> dict[str, str]:
    vault = vault_of(caller.state.settings)
    return signed_headers([keys.signing_key(vault, caller.workspace_id, row) for row in rows], "msg", at, BODY)


async def good_keys(caller: Caller, endpoint_id: str) -> tuple[list[Any], Any]:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        return await keys.good(tx, [UUID(endpoint_id)]), tx.now


async def test_the_shown_secret_verifies_what_is_signed(admin: Caller) -> None:
    made = await make_endpoint(admin, signatures=["v1", "v1a"])
    shown = await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/secret")
    assert shown["key"] == made["key"]
    assert [each["kind"] for each in shown["keys"]] == ["v1", "v1a"]
    rows, now = await good_keys(admin, made["id"])
    headers = signed(admin, rows, now)
    Webhook(made["key"]).verify(BODY, headers)
    public = NaclKey(b"0" * 32).verify_key.__class__(base64.b64decode(shown["public_key"].removeprefix("whpk_")))
    signature = next(part for part in headers["webhook-signature"].split(" ") if part.startswith("v1a,"))
    content = f"msg.{headers['webhook-timestamp']}.".encode() + BODY
    assert public.verify(content, base64.b64decode(signature.removeprefix("v1a,"))) == content


async def test_during_the_grace_both_keys_verify_and_afterwards_the_new_one_alone(admin: Caller) -> None:
    made = await make_endpoint(admin)
    path = f"{ENDPOINTS}/{made['id']}"
    rotated = await admin.post(f"{path}:rotate-secret", {"grace_period_seconds": 3600})
    assert (rotated.status_code, rotated.headers["etag"], "key" in rotated.json()) == (200, '"2"', False)
    shown = await admin.ok("GET", f"{path}/secret")
    assert shown["key"] != made["key"]
    assert [each["key"] for each in shown["keys"]] == [shown["key"], made["key"]]
    assert shown["keys"][1]["expires_at"] is not None
    rows, now = await good_keys(admin, made["id"])
    headers = signed(admin, rows, now)
    for key in (made["key"], shown["key"]):
        Webhook(key).verify(BODY, headers)
    late = signed_headers(
        [keys.signing_key(vault_of(admin.state.settings), admin.workspace_id, row) for row in rows],
        "msg",
        now + timedelta(hours=1, seconds=1),
        BODY,
    )
    assert len(late["webhook-signature"].split(" ")) == 1
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(AGED, seconds=3601)
    rows, now = await good_keys(admin, made["id"])
    headers = signed(admin, rows, now)
    Webhook(shown["key"]).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["key"]).verify(BODY, headers)


async def test_several_old_keys_may_be_in_their_grace_but_not_any_number(admin: Caller) -> None:
    made = await make_endpoint(admin)
    path = f"{ENDPOINTS}/{made['id']}"
    for _ in range(keys.MOST_OLD):
        await admin.ok("POST", f"{path}:rotate-secret", {})
    assert len((await admin.ok("GET", f"{path}/secret"))["keys"]) == keys.MOST_OLD + 1
    refused = await admin.post(f"{path}:rotate-secret", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    # A key that has leaked is replaced without grace, however many old ones there are.
    await admin.ok("POST", f"{path}:rotate-secret", {"grace_period_seconds": 0})
    shown = await admin.ok("GET", f"{path}/secret")
    # Those in their grace end with it: nobody can say which of them has leaked.
    assert len(shown["keys"]) == 1
    assert [each["expires_at"] is None for each in shown["keys"]].count(True) == 1


async def test_a_key_of_ones_own(admin: Caller) -> None:
    own = "whsec_" + base64.b64encode(os.urandom(24)).decode()
    made = await make_endpoint(admin, key=own)
    assert made["key"] == own
    path = f"{ENDPOINTS}/{made['id']}"
    seed = os.urandom(32)
    pair = "whsk_" + base64.b64encode(seed + NaclKey(seed).verify_key.encode()).decode()
    for body, pointer, code in (
        ({"key": own}, "/key", "same_key"),
        ({"key": pair}, "/key", "other_signature"),
        ({"signature": "v1a"}, "/signature", "other_signature"),
        ({"key": pair[:-8] + "AAAAAAA="}, "/key", "malformed_key"),
        ({"grace_period_seconds": 604_801}, "/grace_period_seconds", "less_than_equal"),
    ):
        response = await admin.post(f"{path}:rotate-secret", body)
        error = response.json()["errors"][0]
        assert (response.status_code, error["pointer"], error["code"]) == (422, pointer, code)
        assert own not in response.text
    await admin.ok("PATCH", path, {"signatures": ["v1a"]})
    await admin.ok("POST", f"{path}:rotate-secret", {"key": pair})
    shown = await admin.ok("GET", f"{path}/secret")
    assert shown["key"] == shown["public_key"] == "whpk_" + base64.b64encode(NaclKey(seed).verify_key.encode()).decode()
    assert {each["kind"] for each in shown["keys"]} == {"v1a"}
    assert base64.b64encode(seed).decode() not in str(shown)


async def _everything(admin: Caller, as_owner: asyncpg.Connection) -> str:
    """All that a dump of the installation would hold of this workspace's tables of secrets and answers."""
    text = ""
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        for table in (
            "events.webhook_endpoints", "events.webhook_secrets", "events.webhook_messages", "events.outbox",
            "events.webhook_deliveries", "sales.idempotency_keys", "sales.audit_entries",
        ):  # fmt: skip
            for row in await tx.rows(sql(f"SELECT t::text AS line FROM {table} t WHERE workspace_id = :workspace_id")):
                text += row["line"]
    return text


async def test_no_secret_stands_in_the_database(admin: Caller, as_api: asyncpg.Connection) -> None:
    own = os.urandom(32)
    secret_header = "Bearer canary-of-a-header"
    body = {"key": "whsec_" + base64.b64encode(own).decode(), "headers": {"Authorization": secret_header}}
    given = {"url": "https://hooks.example.com/x", "event_types": ["*"], "signatures": ["v1", "v1a"], **body}
    response = await admin.post(ENDPOINTS, given, headers={"Idempotency-Key": "secret"})
    made = response.json()
    path = f"{ENDPOINTS}/{made['id']}"
    await admin.ok("POST", f"{path}:rotate-secret", {}, headers={"Idempotency-Key": "rotate"})
    await admin.ok("POST", f"{path}:test", {})
    shown = await admin.ok("GET", f"{path}/secret")
    held = await _everything(admin, as_api)
    assert len(held) > 1000
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        rows = await keys.good(tx, [UUID(made["id"])])
    privates = [keys.opened(vault_of(admin.state.settings), admin.workspace_id, row) for row in rows]
    assert own in privates
    for secret in [*privates, secret_header.encode()]:
        for form in (secret.hex(), base64.b64encode(secret).decode(), secret.decode("latin-1")):
            assert form not in held
    assert shown["key"].removeprefix("whsec_") not in held
    assert "Authorization" in held


async def test_headers_are_sent_and_never_shown(admin: Caller) -> None:
    made = await make_endpoint(admin, headers={"X-Tenant": "7", "Authorization": "Bearer canary"})
    path = f"{ENDPOINTS}/{made['id']}"
    assert made["header_names"] == ["Authorization", "X-Tenant"]
    assert "canary" not in (await admin.get(path)).text
    vault = vault_of(admin.state.settings)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        row = await tx.row(ENDPOINT, id=UUID(made["id"]))
    assert row is not None
    assert opened_headers(vault, row) == {"X-Tenant": "7", "Authorization": "Bearer canary"}
    assert (await admin.ok("PATCH", path, {"headers": None}))["header_names"] == []


async def test_a_new_encryption_key_takes_over_everything(admin: Caller) -> None:
    made = await make_endpoint(admin, headers={"X-A": "1"}, signatures=["v1", "v1a"])
    before = await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/secret")
    settings = admin.state.settings
    key = base64.b64encode(os.urandom(32)).decode()
    vault = vault_of(settings.model_copy(update={"encryption_keys": SecretStr(key)}))
    assert vault.present != vault_of(settings).present
    duty = Reencryption(admin.state.database, vault)
    while await duty.work():
        pass
    alone = Vault(parse_keys(key))
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        rows = await keys.good(tx, [UUID(made["id"])])
        endpoint = await tx.row(ENDPOINT, id=UUID(made["id"]))
    assert endpoint is not None
    assert [keys.shown(alone, admin.workspace_id, row)["key"] for row in rows] == [k["key"] for k in before["keys"]]
    assert opened_headers(alone, endpoint) == {"X-A": "1"}
    assert endpoint["version"] == made["version"]
    # Back again, for the other tests' endpoints share this database.
    back = Vault([derived_key(settings.secret_key.get_secret_value()), *parse_keys(key)])
    duty = Reencryption(admin.state.database, back)
    while await duty.work():
        pass
    assert (await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/secret"))["keys"] == before["keys"]


async def test_a_key_that_can_not_be_read_any_more_is_replaced(admin: Caller) -> None:
    """The installation has lost its encryption key: endpoints live on with new keys."""
    made = await make_endpoint(admin)
    path = f"{ENDPOINTS}/{made['id']}"
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(sql("UPDATE events.webhook_secrets SET key_id = 'lost' WHERE workspace_id = :workspace_id"))
    refused = await admin.get(f"{path}/secret")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await admin.ok("POST", f"{path}:rotate-secret", {"grace_period_seconds": 0})
    shown = await admin.ok("GET", f"{path}/secret")
    assert len(shown["keys"]) == 1
    assert shown["key"] != made["key"]
