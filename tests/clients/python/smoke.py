"""What the smoke flows have alike: where the service is, and receiving a webhook."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from uuid import uuid4

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

BASE_URL = os.environ["SMOKE_BASE_URL"]
API_KEY = os.environ["SMOKE_API_KEY"]
RECEIVER = os.environ["SMOKE_RECEIVER"]


def hook_of(flow: str) -> str:
    return f"{RECEIVER}/hooks/{flow}"


def unique() -> str:
    return str(uuid4())


def check_pages(first: list[Any], second: list[Any], limit: int) -> None:
    """The rows of two pages: none twice, and more than one page could hold."""
    ids = [row.id for row in [*first, *second]]
    assert len(first) == limit
    assert len(second) >= 1
    assert len(set(ids)) == len(ids)


def receive(flow: str, key: str) -> dict[str, Any]:
    """Waits for the delivery and verifies its signature as a consumer would; gives its payload."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{RECEIVER}/received/{flow}") as response:
                found = json.load(response)
        except urllib.error.HTTPError:
            time.sleep(0.1)
            continue
        try:
            Webhook(key).verify(found["body"] + " ", found["headers"])
        except WebhookVerificationError:
            payload: dict[str, Any] = Webhook(key).verify(found["body"], found["headers"])
            return payload
        raise AssertionError("a body that was tampered with was taken for a true one")
    raise AssertionError("no webhook came within 30 seconds")
