"""What the document says in its own words."""

from __future__ import annotations

from typing import Any

from services.api.openapi.walk import operations

VERSION = "0.1.0"
DESCRIPTION = """\
Which 16 of your 400 customers deserve attention now, why, and what to do next.

**Calling.** Send `Authorization: Bearer sixteen_live_…`. Bodies and answers are JSON in UTF-8; times are RFC 3339 in \
UTC, days are dates, money is `{"amount": "123.45", "currency": "CNY"}` with the amount as a string. An answer is JSON \
whatever `Accept` says, unless an operation names another form.

**Errors** are `application/problem+json` with a stable `code`, the `request_id`, and for wrong fields \
`errors: [{pointer, code, message}]`. Each operation lists its codes in `x-error-codes`; `/docs/errors` explains them.

**Lists** are `{data, next_cursor, has_more}`: give `next_cursor` back as `cursor`, with the same filters and sort. \
Parameters that a list does not know are refused.

**Writing.** Send `Idempotency-Key` with a POST to be able to repeat it safely. Send `If-Match` with the `ETag` you \
read to change that version and no other. A PATCH is a JSON merge-patch: null clears, what is absent stays; \
clients that can't send null name the fields in `clear`. Fields that are not known are refused.

**Reading again.** Every GET has an `ETag`; `If-None-Match` with it answers 304 while nothing has changed.

**Growing.** Within a major version, fields, operations, codes and values are only added: ignore fields you don't \
know, and be ready for values beyond those in `x-extensible-enum` (`/v1/catalog` lists them with labels). What is to \
go is marked `deprecated` first and answers with `Deprecation` and `Sunset` headers."""

SERVERS = [{"url": "/", "description": "The installation that serves this document."}]

TAGS = {
    "customers": "Organisations and households that buy, or may.",
    "opportunities": "What may be sold to a customer, and its way through the stages of a process.",
    "processes": "Stages and the milestones between them, in editions that never change.",
    "interactions": "Calls, visits, messages: what happened between us and a customer.",
    "tasks": "Promises, next steps and other work with a due date.",
    "focus": "The ranked seats of each rep: whom to attend to now, and why.",
    "scores": "How an opportunity is judged, with every push on its probability.",
    "contacts": "The people at a customer.",
    "products": "What is sold.",
    "api-keys": "Keys of programs and people.",
    "logins": "People log in through an identity provider; no key is needed here.",
    "me": "Who is calling.",
    "members": "People and integrations of the workspace.",
    "teams": "Who works for which manager.",
    "workspaces": "The workspace itself.",
    "imports": "Files taken in, row by row, with what is wrong in them.",
    "exports": "Files given out.",
    "attributes": "Fields of the workspace's own.",
    "policy": "Capacities, limits and the constants of judging.",
    "catalog": "Every code with its label.",
    "audit": "Who did what, and when.",
    "events": "What happened, in order and without gaps; as a feed and as a live stream.",
    "webhooks": "Events sent to addresses of yours.",
    "duplicates": "Records that may be the same.",
    "merges": "Records made one, and made two again.",
}


def tags_of(document: dict[str, Any]) -> list[dict[str, str]]:
    """The tags in use, in the order of their first operation."""
    used = dict.fromkeys(operation["tags"][0] for _, _, operation in operations(document))
    return [{"name": name, "description": TAGS.get(name, name.replace("-", " ").capitalize() + ".")} for name in used]
