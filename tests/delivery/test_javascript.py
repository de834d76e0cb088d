"""Real deliveries through a rotation, verified in JavaScript: `make webhooks-js` installs what this needs."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.receivers import Farm, Received
from tests.delivery.support import Sender

FOLDER = Path(__file__).parent.parent / "clients_js"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").exists(), reason="make webhooks-js installs the library"
)


async def verified(deliveries: list[dict[str, Any]]) -> list[dict[str, list[bool]]]:
    """What JavaScript says of each: which secrets and which public keys verify it."""
    process = await asyncio.create_subprocess_exec(
        str(NODE), "verify.mjs", cwd=FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps(deliveries).encode())
    assert process.returncode == 0
    answers: list[dict[str, list[bool]]] = json.loads(said)
    return answers


async def test_the_official_library_and_webcrypto_through_a_rotation(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/js"), signatures=["v1", "v1a"])
    old = {row["kind"]: row for row in await sender.good_keys(endpoint_id)}
    got: list[Received] = []

    async def deliver() -> None:
        await sender.emit()
        await sender.settle()
        got.append(farm.received["/ok/js"][-1])

    await deliver()
    await sender.rotate(endpoint_id, timedelta(seconds=3))
    await deliver()
    await asyncio.sleep(3.1)
    await deliver()
    new = {row["kind"]: row for row in await sender.good_keys(endpoint_id)}
    secrets = ["whsec_" + base64.b64encode(sender.opened(each["v1"])).decode() for each in (old, new)]
    public = ["whpk_" + base64.b64encode(each["v1a"]["public_key"]).decode() for each in (old, new)]
    given = [
        {"headers": each.headers, "body": each.body.decode(), "secrets": secrets, "publicKeys": public} for each in got
    ]
    answers = await verified([*given, {**given[0], "body": given[0]["body"] + " "}])
    expected = [[True, False], [True, True], [False, True], [False, False]]
    assert answers == [{"v1": each, "v1a": each} for each in expected]
