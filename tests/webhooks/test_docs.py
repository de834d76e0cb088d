"""The receiver in the documentation does what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from services.api.webhooks import keys
from services.api.webhooks.signing import SigningKey, signed_headers
from shared.events import EVENT_TYPES
from shared.ids import new_id

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


def receiver(key: str) -> Any:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    space: dict[str, Any] = {}
    exec(compile(code[0], str(PAGE), "exec"), space)
    return space["Receiver"](key)


def test_the_receiver_takes_each_event_once_and_nothing_stale_or_forged() -> None:
    key = keys.make_key("v1")
    taking = receiver(keys.in_words(key.kind, key.private, key.public))

    def deliver(version: int, id_: str, signing: bytes = key.private) -> int:
        event = {**EVENT_TYPES["opportunity.updated"].sample, "id": id_, "resource_version": version}
        body = orjson.dumps(event)
        headers = signed_headers([SigningKey("v1", signing)], id_, datetime.now(UTC), body)
        status: int = taking.receive(headers, body)
        return status

    first, second, third = (str(new_id()) for _ in range(3))
    assert deliver(5, first) == 204
    assert deliver(5, first) == 204
    assert deliver(4, second) == 204
    assert deliver(6, third, keys.make_key("v1").private) == 401
    assert deliver(6, third) == 204
    assert [(event["id"], event["resource_version"]) for event in taking.work] == [(first, 5), (third, 6)]


def test_every_setting_and_type_it_names_exists() -> None:
    from services.api.settings import ApiSettings

    text = PAGE.read_text(encoding="utf-8")
    for name in set(re.findall(r"SIXTEEN_([A-Z_]+)", text)) - {"BASE_URL", "API_KEY"}:
        assert name.lower() in ApiSettings.model_fields, name
    named = set(re.findall(r"`(endpoint\.[a-z_]+)`", text))
    assert len(named) > 5
    assert named <= set(EVENT_TYPES)
