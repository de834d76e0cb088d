"""The headers of an attempt."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.api.delivery.claims import Claimed
from services.api.delivery.endpoints import Endpoint
from services.api.webhooks.signing import signed_headers

USER_AGENT: Final = "Sixteen-Webhooks/1"
HIDDEN: Final = "(hidden)"
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def compose(endpoint: Endpoint, claimed: Claimed, at: datetime, body: bytes) -> dict[str, str]:
    """All headers but those of the connection; ours win over those of the endpoint. Raises ValueError without a key."""
    headers = {
        "content-type": "application/json",
        "accept": "*/*",
        "user-agent": USER_AGENT,
        **{name.lower(): value for name, value in endpoint.headers.items()},
        **signed_headers(endpoint.keys, str(claimed.event_id), at, body),
    }
    parent = child_of(claimed.traceparent)
    if parent is not None:
        headers["traceparent"] = parent
    return headers


def child_of(traceparent: str | None) -> str | None:
    """The same trace with a span of its own for this attempt; None where there is no trace."""
    if traceparent is None or not _TRACEPARENT.fullmatch(traceparent):
        return None
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


def shown(endpoint: Endpoint, headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are kept: what the endpoint's administrator has us send is a secret."""
    own = {name.lower() for name in endpoint.headers}
    return {name: HIDDEN if name in own else value for name, value in headers.items()}
