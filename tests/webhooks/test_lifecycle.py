"""An endpoint through any course of its life: whatever is done in whatever order, what holds keeps holding."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from services.api.webhooks import keys
from services.api.webhooks.secrets import vault_of
from services.api.webhooks.signing import signed_headers
from tests.support.caller import Caller
from tests.support.webhooks import ENDPOINTS, make_endpoint
from tests.webhooks.test_deliveries import QUEUE, hand_out, rows, settle

STEPS = 25
BODY = b"{}"


@dataclass
class Model:
    """What an endpoint must be like after all that was done to it."""

    id: str
    version: int
    disabled: bool = False
    signatures: set[str] = field(default_factory=lambda: {"v1"})
    # The secrets of v1 that sign: the present one first.
    secrets: list[str] = field(default_factory=list)
    old: int = 0

    @property
    def path(self) -> str:
        return f"{ENDPOINTS}/{self.id}"


async def _rotate(admin: Caller, model: Model, chance: random.Random) -> None:
    grace = chance.choice((0, 60, 86_400))
    response = await admin.post(f"{model.path}:rotate-secret", {"grace_period_seconds": grace})
    if grace and model.old >= keys.MOST_OLD:
        assert response.status_code == 409
        return
    assert response.status_code == 200
    model.version += 1
    shown = await admin.ok("GET", f"{model.path}/secret")
    model.old = model.old + 1 if grace else 0
    if "v1" in model.signatures:
        model.secrets = [shown["key"], *(model.secrets if grace else [])]


async def _flip(admin: Caller, model: Model, chance: random.Random) -> None:
    wanted = chance.choice((True, False))
    if wanted or chance.random() < 0.5:
        await admin.ok("PATCH", model.path, {"disabled": wanted})
    else:
        await admin.ok("POST", f"{model.path}:enable")
    model.version += wanted is not model.disabled
    model.disabled = wanted


async def _sign(admin: Caller, model: Model, chance: random.Random) -> None:
    wanted = set(chance.choice((["v1"], ["v1", "v1a"])))
    await admin.ok("PATCH", model.path, {"signatures": sorted(wanted)})
    model.version += wanted != model.signatures
    model.signatures = wanted


async def _stale(admin: Caller, model: Model, chance: random.Random) -> None:
    headers = {"If-Match": f'"{model.version + chance.choice((-1, 1))}"'}
    calls = (
        admin.patch(model.path, {"thin": True}, headers=headers),
        admin.delete(model.path, headers=headers),
        admin.post(f"{model.path}:enable", headers=headers),
        admin.post(f"{model.path}:rotate-secret", {}, headers=headers),
    )
    for call in calls:
        assert (await call).status_code == 412


async def _event(admin: Caller, model: Model, chance: random.Random) -> None:
    await admin.make_customer()
    if not model.disabled:
        await hand_out(admin)
    if chance.random() < 0.3:
        await settle(admin, chance.choice(("delivered", "failed")))


STEP = (_rotate, _flip, _sign, _stale, _event)


async def _check(admin: Caller, model: Model) -> None:
    """The endpoint is as the model says, and every key that should sign does, and no other."""
    response = await admin.get(model.path)
    now: dict[str, Any] = response.json()
    assert (now["version"], response.headers["etag"]) == (model.version, f'"{model.version}"')
    assert (now["disabled"], now["disabled_at"] is not None) == (model.disabled, model.disabled)
    assert now["disabled_reason"] == ("requested" if model.disabled else None)
    assert set(now["signatures"]) == model.signatures
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        good = await keys.good(tx, [UUID(model.id)])
        at = tx.now
    assert {row["kind"] for row in good} == model.signatures
    assert len([row for row in good if row["expires_at"] is None]) == len(model.signatures)
    vault = vault_of(admin.state.settings)
    signing = [keys.signing_key(vault, admin.workspace_id, row) for row in good]
    shown = ["whsec_" + base64.b64encode(each.key).decode() for each in signing if each.kind == "v1"]
    assert (shown[0], set(shown)) == (model.secrets[0], set(model.secrets))
    assert len(shown) == len(model.secrets)
    headers = signed_headers(signing, "msg", at, BODY)
    for secret in model.secrets:
        Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize("seed", range(4))
async def test_any_course_of_life(admin: Caller, seed: int) -> None:
    chance = random.Random(seed)
    made = await make_endpoint(admin, event_types=["customer.*"])
    model = Model(made["id"], made["version"], secrets=[made["key"]])
    for _ in range(STEPS):
        # Of a kind that goes, the keys go with it: the model follows v1, which always stays.
        await chance.choice(STEP)(admin, model, chance)
        await _check(admin, model)
    await admin.delete(model.path)
    assert (await admin.get(model.path)).status_code == 404
    assert await rows(admin, QUEUE) == []
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        assert await keys.good(tx, [UUID(model.id)]) == []
