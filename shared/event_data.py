"""What the `data` of each kind of event looks like, as JSON Schema (2020-12), with an example of each.

The schemas are open: a reader must pass over properties it does not know, so that adding one is no new version. What
is personal is in no event, and so in none of these: whoever may see it reads the record itself.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def each(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object; `required` properties are always there (though they may be null), `optional` ones may be missing."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": sorted(required)}


def plus(base: Schema, required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with further properties."""
    more = record(required, optional)
    return {
        "type": "object",
        "properties": {**base["properties"], **more["properties"]},
        "required": sorted({*base["required"], *more["required"]}),
    }


MONEY = record({"amount": said(TEXT, 'A decimal in a string, such as "123.45".'), "currency": TEXT})
LABEL = record({"en": TEXT, "zh_hans": maybe(TEXT)})
CHANGED = said(each(TEXT), "Names of the fields that changed; of personal ones the name alone is told.")
# Codes of the catalog are open: a new one may come with a new release.
CODE = TEXT
_STAMPS = {"version": said(COUNT, "The record's version after this."), "recorded_at": TIME, "updated_at": TIME}
_FACT = {"occurred_at": TIME, **_STAMPS}
_EXTERNAL = {"external_source": maybe(TEXT), "external_id": maybe(TEXT)}
_SOFT = {"deleted_at": maybe(TIME)}

WORKSPACE = record(
    {"id": ID, "name": TEXT, "currency": TEXT, "time_zone": TEXT, "locale": TEXT, **_STAMPS, "changed": CHANGED}
)
# The policy grows with the product: its whole document is there, and its shape is that of `GET /v1/policy`.
POLICY = {**record({"version": COUNT, "updated_at": TIME, "changed": CHANGED}), "additionalProperties": True}
_SEATS = {"engage": maybe(COUNT), "track": maybe(COUNT), "monitor": maybe(COUNT)}
MEMBER_MADE = record(
    {"id": ID, "role": CODE},
    {
        "active": FLAG, "engage_capacity": maybe(COUNT), "track_capacity": maybe(COUNT),
        "monitor_capacity": maybe(COUNT), "external_source": maybe(TEXT), **_FACT,
    },
)  # fmt: skip
MEMBER = plus(MEMBER_MADE, {"active": FLAG, **_FACT, "changed": CHANGED})
TEAM = record({"id": ID, "name": TEXT, "manager_id": maybe(ID), "member_ids": each(ID), **_FACT})
API_KEY = record(
    {
        "id": ID, "member_id": said(ID, "Whose key it is."), "name": TEXT, "last4": TEXT, "scopes": each(TEXT),
        "expires_at": maybe(TIME), "revoked_at": maybe(TIME), "last_used_at": maybe(TIME), **_FACT,
    }
)  # fmt: skip
ATTRIBUTE = record(
    {
        "id": ID, "subject": CODE, "key": TEXT, "kind": CODE, "label": LABEL, "categories": maybe(each(TEXT)),
        "required": FLAG, "active": FLAG, **_FACT,
    },
    {"model_input": maybe({"type": "object"})},
)  # fmt: skip
PROCESS_MADE = record({"id": ID, "key": TEXT, "edition": COUNT, "is_default": FLAG})
PROCESS = plus(PROCESS_MADE, {"name": LABEL, "template": maybe(TEXT), "active": FLAG, **_FACT, "changed": CHANGED})
CUSTOMER = record(
    {
        "id": ID, "kind": CODE, "owner_id": maybe(ID), "industry": maybe(TEXT), "source": maybe(TEXT),
        "tier": maybe(CODE), **_EXTERNAL, **_FACT, **_SOFT,
    },
    {"name": said(TEXT, "Not told of a household, whose name is a person's."), "website": maybe(TEXT)},
)  # fmt: skip
CONTACT = record(
    {
        "id": ID, "customer_id": ID, "title": maybe(TEXT), "function": maybe(CODE), "level": maybe(CODE),
        "is_coach": FLAG, "is_external": FLAG, "external_source": maybe(TEXT), **_FACT, **_SOFT,
    }
)  # fmt: skip
# One event for a merge, whatever was moved by it: each record that was has a new version, and `updated_at`.
MERGED = record(
    {
        "merge_id": ID,
        "into_id": said(ID, "The record that stays."),
        "from_id": said(ID, "The record that became part of it, or came apart from it again."),
        "moved": said(
            record({"interactions": COUNT}, {"contacts": COUNT, "opportunities": COUNT, "tasks": COUNT}),
            "How many records of each kind went from one to the other.",
        ),
        "changed": CHANGED,
    }
)
PRODUCT = record(
    {
        "id": ID, "name": TEXT, "code": maybe(TEXT), "series": maybe(TEXT), "list_price": maybe(MONEY),
        "margin_rate": maybe(NUMBER), "active": FLAG, **_EXTERNAL, **_FACT, **_SOFT,
    }
)  # fmt: skip
INTERACTION = record(
    {
        "id": ID, "customer_id": ID, "opportunity_id": maybe(ID), "contact_ids": each(ID), "member_id": maybe(ID),
        "kind": CODE, "direction": CODE, "purpose_reached": maybe(FLAG), "setting_quality": maybe(TEXT),
        "minutes": maybe(COUNT), "cost": maybe(MONEY), "signals": each(CODE), "confidence": maybe(NUMBER),
        "foreseen_came_true": maybe(FLAG), "customer_rating": maybe(COUNT), **_EXTERNAL, **_FACT, **_SOFT,
    }
)  # fmt: skip
TASK = record(
    {
        "id": ID, "kind": CODE, "assignee_id": maybe(ID), "customer_id": maybe(ID), "opportunity_id": maybe(ID),
        "interaction_id": maybe(ID), "due_on": maybe(DAY), "status": CODE, "completed_at": maybe(TIME),
        "kept": maybe(FLAG), **_EXTERNAL, **_FACT, **_SOFT,
    }
)  # fmt: skip
OPPORTUNITY = record(
    {
        "id": ID, "name": TEXT, "customer_id": ID, "process_id": ID, "owner_id": maybe(ID), "product_id": maybe(ID),
        "status": CODE, "stage_id": maybe(ID), "stage_position": COUNT, "stage_entered_at": maybe(TIME),
        "won_at": maybe(TIME), "closed_at": maybe(TIME), "completed_at": maybe(TIME), "amount": maybe(MONEY),
        "margin_rate": maybe(NUMBER), "cost_to_deliver": maybe(MONEY), "delivery_risk": maybe(NUMBER),
        "payment_risk": maybe(NUMBER), "budget": maybe(MONEY), "budget_status": maybe(CODE),
        "purchase_date": maybe(DAY), "purchase_date_firmness": maybe(CODE), "purchase_date_slips": COUNT,
        "fit_score": maybe(NUMBER), "rival_fit_score": maybe(NUMBER), "interest": maybe(CODE), "line": CODE,
        "resume_on": maybe(DAY), "source": maybe(TEXT), **_EXTERNAL, **_FACT, **_SOFT,
    },
    {"close_reason": said(maybe(CODE), "Not told of a cancelled contract, where it is what a manager wrote.")},
)  # fmt: skip
_COURSE = {"reason": said(maybe(CODE), "Why it was closed; null for any other transition."),
           "previous_stage_id": maybe(ID)}  # fmt: skip
_MILESTONE = record({"key": TEXT, "irreversible": FLAG, "wins": FLAG, "stage_id": ID})
CLOSED = plus(OPPORTUNITY, _COURSE)
PASSED = plus(OPPORTUNITY, {**_COURSE, "milestone": said(_MILESTONE, "The stage whose milestone it concerns.")})
CANCELLED = plus(OPPORTUNITY, _COURSE, {"milestone": _MILESTONE})
_HANDOVER = {"from_owner_id": said(maybe(ID), "Whose it was; null where it was nobody's.")}
_WHY = {"reason": said(CODE, "`member_deactivated` where its owner left; else the record says why.")}
PART = record({"id": ID, "member_id": ID})
_EVENT = record({"type": TEXT, "subject_type": maybe(TEXT), "subject_id": maybe(ID)})
CAUSE = record(
    {"code": said(CODE, "Such as `overtook`; codes are in the catalog, `move_causes`.")},
    {
        "by": said(record({"type": TEXT, "id": ID}, {"event": TEXT}), "The other subject in it."),
        "event": said(_EVENT, "What set it off."),
        "event_id": said(ID, "The event that set it off, in this same feed."),
        "request_id": said(TEXT, "The request that set it off."),
    },
)
BAND = {"type": "string", "description": "engage, track, monitor, backlog or muted."}
MOVE = record(
    {
        "move_id": ID, "from": maybe(BAND), "to": maybe(BAND),
        "rank": said(maybe(COUNT), "Its place within the owner's list after the move."), "cause": CAUSE,
    }
)  # fmt: skip
SCORED = record(
    {
        "class": CODE, "class_before": maybe(CODE), "probability": NUMBER, "probability_before": maybe(NUMBER),
        "priority": NUMBER, "model_version": TEXT, "cause": CAUSE,
    }
)  # fmt: skip
PIN = record({"pin_id": ID, "kind": CODE, "band": maybe(CODE), "expires_at": TIME})
CAPACITY = record({"owner_id": ID, "before": record(_SEATS), **_SEATS})
_PROBLEM = said({"type": "object", "additionalProperties": True}, "What ended it, as {pointer, code, message}.")
_ROWS = {"rows_read": COUNT, "rows_imported": COUNT, "rows_failed": COUNT}
IMPORT = record(
    {
        "id": ID, "kind": CODE, "format": CODE, "file_name": maybe(TEXT), "dry_run": FLAG, "status": CODE,
        "problem": maybe(_PROBLEM), "total_bytes": COUNT, "rows_total": maybe(COUNT), **_ROWS,
        "cancel_requested": FLAG, "created_by": maybe(ID), "started_at": maybe(TIME), "finished_at": maybe(TIME),
        **_STAMPS, "source": TEXT,
    }
)  # fmt: skip
IMPORTED = record(
    {"id": ID, "kind": CODE, "status": CODE, "dry_run": FLAG, "problem": maybe(_PROBLEM), **_ROWS},
)
EXPORT = record(
    {
        "id": ID, "kind": CODE, "format": CODE, "status": CODE, "problem": maybe(_PROBLEM), "rows_written": COUNT,
        "total_bytes": COUNT, "cancel_requested": FLAG, "created_by": maybe(ID), "started_at": maybe(TIME),
        "finished_at": maybe(TIME), "expires_at": maybe(TIME), **_STAMPS,
    }
)  # fmt: skip
EXPORTED = record(
    {
        "id": ID, "kind": CODE, "format": CODE, "status": CODE, "problem": maybe(_PROBLEM), "rows_written": COUNT,
        "total_bytes": COUNT,
    }
)  # fmt: skip
# A receiver's URL, its keys and the values of its headers are told to nobody.
ENDPOINT = record(
    {
        "id": ID, "description": maybe(TEXT), "event_types": each(TEXT), "owner_ids": maybe(each(ID)),
        "opportunity_ids": maybe(each(ID)), "api_version": TEXT, "thin": FLAG, "signatures": each(CODE),
        "throttle_rate": maybe(COUNT), "timeout_seconds": COUNT, "retry_schedule": maybe(each(COUNT)),
        "header_names": each(TEXT), "disabled": FLAG, "disabled_reason": maybe(CODE), "disabled_at": maybe(TIME),
        "created_by": maybe(ID), **_STAMPS,
    }
)  # fmt: skip
ENDPOINT_DISABLED = record(
    {"id": ID, "reason": said(CODE, "requested, failing, gone or orphaned.")},
    {**ENDPOINT["properties"], "changed": CHANGED},
)
ENDPOINT_FAILING = record(
    {"id": ID, "failing_since": TIME, "percent": said(COUNT, "How much of the time until it is disabled is over.")}
)
ENDPOINT_PAUSED = record({"id": ID, "until": maybe(TIME)})
ENDPOINT_RECOVERED = record({"id": ID, "failing_since": TIME})
DELIVERY_FAILED = record(
    {"id": ID, "delivery_id": ID, "event_id": ID, "event_type": TEXT, "attempts": COUNT, "error": maybe(TEXT)},
    {"next_attempt_at": maybe(TIME)},
)
_ASKED = record({}, {"since": maybe(TIME), "until": maybe(TIME), "delivery_id": ID})
WEBHOOK_JOB = record(
    {
        "id": ID, "kind": CODE, "endpoint_id": ID, "status": CODE, "problem": maybe(_PROBLEM), "total": maybe(COUNT),
        "done": COUNT, "requested": COUNT, "cancel_requested": FLAG, "created_by": maybe(ID), "parameters": _ASKED,
        "started_at": maybe(TIME), "finished_at": maybe(TIME), **_STAMPS,
    }
)  # fmt: skip


def changed(schema: Schema) -> Schema:
    """The record after a change, with what changed."""
    return plus(schema, {"changed": CHANGED})


def handed_over(schema: Schema) -> Schema:
    """The record after a handover, with whose it was."""
    return plus(schema, {"changed": CHANGED, **_HANDOVER}, _WHY)
