"""What an endpoint may be: its URL, its event types, its headers, and what it refers to. Problems name their field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from services.api.delivery.addresses import Refused, Rules, literal_address
from services.api.errors import FieldError, Invalid, invalid, wrong
from services.api.settings import ApiSettings
from shared import events
from shared.db import Tx, sql

LOCAL_NOTICE: Final = "This receiver is on the same machine: such ones are delivered to in the embedded mode alone."
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
# Ours to set, or the connection's.
_RESERVED: Final = frozenset(
    (
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "keep-alive", "te", "trailer", "traceparent", "tracestate", "transfer-encoding", "upgrade", "user-agent",
    )
)  # fmt: skip
_RESERVED_PREFIXES: Final = ("webhook-", "proxy-", "sec-")
_MOST_HEADER_BYTES: Final = 8_000

REFERENCES = sql(
    """
    SELECT
      ARRAY(SELECT id FROM sales.members WHERE workspace_id = :workspace_id AND id = ANY(CAST(:owner_ids AS uuid[])))
        AS owner_ids,
      ARRAY(SELECT id FROM sales.opportunities WHERE workspace_id = :workspace_id
        AND id = ANY(CAST(:opportunity_ids AS uuid[])) AND deleted_at IS NULL) AS opportunity_ids
    """
)


def rules_of(settings: ApiSettings) -> Rules:
    """Where this installation delivers to."""
    return Rules(loopback=settings.embedded, http=settings.webhook_http, ports=frozenset(settings.webhook_ports))


def check_url(url: str, rules: Rules) -> None:
    """Raises Invalid at `/url` for what can be seen to be wrong before the name is resolved."""
    if not _PRINTABLE.fullmatch(url):
        raise invalid("/url", "malformed_url", "A URL has no blanks: write other characters percent-encoded.")
    try:
        rules.check_url(url)
    except Refused as error:
        raise invalid("/url", "url_not_allowed", str(error)) from None
    if urlsplit(url).fragment:
        raise invalid("/url", "malformed_url", "What follows # would never be sent: leave it out.")
    if is_local(url) and not rules.loopback:
        raise invalid("/url", "url_not_allowed", "The receiver must have a public address: this is the same machine.")


def is_local(url: str) -> bool:
    """Whether the URL says itself that its receiver is on this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    literal = literal_address(host)
    return host == "localhost" or host.endswith(".localhost") or (literal is not None and literal.is_loopback)


def check_event_types(patterns: Sequence[str]) -> None:
    """Raises Invalid at each pattern that no event type matches."""
    unknown = set(events.unknown(patterns))
    errors = [
        wrong(f"/event_types/{place}", "unknown_event_type", f"There is no event type {pattern}.")
        for place, pattern in enumerate(patterns)
        if pattern in unknown
    ]
    _raise(errors)


def check_event_type(name: str) -> None:
    """Raises Invalid at `/event_type`: a sample is of one type, by its full name."""
    if name not in events.EVENT_TYPES:
        raise invalid("/event_type", "unknown_event_type", f"There is no event type {name}.")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as they are sent; raises Invalid at each that can't be, without repeating its value."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")[:100]
        if not _TOKEN.fullmatch(name):
            errors.append(wrong(pointer, "malformed_header", "This is no name of a header."))
        elif lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
            errors.append(wrong(pointer, "reserved_header", f"{name} is set by the delivery itself."))
        elif lower in seen:
            errors.append(wrong(pointer, "duplicate_header", f"{name} is given twice."))
        elif not _VALUE.fullmatch(value):
            errors.append(wrong(pointer, "malformed_header", "A value has printable ASCII characters alone."))
        seen.add(lower)
    _raise(errors)
    if sum(len(name) + len(value) for name, value in headers.items()) > _MOST_HEADER_BYTES:
        raise invalid("/headers", "too_long", f"All headers together may have {_MOST_HEADER_BYTES} characters.")
    return dict(headers)


async def check_references(tx: Tx, values: Mapping[str, Any]) -> None:
    """Raises Invalid for owners and opportunities that are not in the workspace; one statement, or none."""
    given: dict[str, list[UUID]] = {name: values.get(name) or [] for name in ("owner_ids", "opportunity_ids")}
    if not any(given.values()):
        return
    found = await tx.row(REFERENCES, **given)
    assert found is not None  # noqa: S101 - a select of arrays always gives one row
    _raise(
        [
            wrong(f"/{name}/{place}", "unknown_reference", f"There is no such {what}.")
            for name, what in (("owner_ids", "member"), ("opportunity_ids", "opportunity"))
            for place, each in enumerate(given[name])
            if each not in set(found[name])
        ]
    )


def _raise(errors: list[FieldError]) -> None:
    if errors:
        raise Invalid(errors[0].message, errors=errors)
