"""The contract of events: every type there is, with its version, labels, JSON Schema and an example.

The feed (`GET /v1/events`), the live stream and webhooks carry the same envelope, so that a consumer writes one parser:

    {"id", "type", "version", "timestamp", "recorded_at", "workspace_id", "subject": {"type", "id"},
     "resource_version", "owner_id", "actor_id", "request_id", "traceparent", "data"}

`timestamp` is when it happened, `recorded_at` when it became known here; `resource_version` is the version of the
subject after it, by which a receiver drops what is stale; `id` is the same wherever and however often it is told.

A new type is one entry of `_TYPES` below; the test suite then asks for its golden file. Within a version a schema
only grows: a property that is removed, retyped or newly required needs `version` raised, here and in `Event.version`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import event_data as d
from shared.catalog.labels import Label
from shared.event_data import Schema
from shared.event_examples import TIME, example_of, id_of

# Whose plural is not made by an s.
_SCOPES = {
    "workspace": "workspace",
    "policy": "policy",
    "process": "processes",
    "opportunity": "opportunities",
    "focus": "focus",
    "endpoint": "webhooks",
    "webhook_job": "webhooks",
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event. `schema` describes its `data`; `subject` is what `subject.type` may be."""

    type: str
    subject: tuple[str, ...]
    label: Label
    description: str
    schema: Schema
    example: dict[str, Any]
    version: int = 1

    @property
    def scope(self) -> str:
        """What a role must be able to read to be told of it."""
        what = self.type.partition(".")[0]
        return f"{_SCOPES.get(what, f'{what}s')}:read"

    @property
    def json_schema(self) -> Schema:
        """The schema of `data` as a document of its own."""
        return {"$schema": DIALECT, "$id": f"{self.type}.v{self.version}", "title": self.label.en, **self.schema}

    @property
    def sample(self) -> dict[str, Any]:
        """A whole event: the envelope around `example`."""
        subject_id = self.example.get("id", id_of(self.subject[0]))
        return {
            "id": id_of(f"event {self.type}"),
            "type": self.type,
            "version": self.version,
            "timestamp": TIME,
            "recorded_at": TIME,
            "workspace_id": id_of("workspace"),
            "subject": {"type": self.subject[0], "id": subject_id},
            "resource_version": self.example.get("version"),
            "owner_id": self.example.get("owner_id"),
            "actor_id": id_of("actor"),
            "request_id": "4d2a6c1e0f7b4a0f",
            "traceparent": None,
            "data": self.example,
        }


ENVELOPE: Schema = {
    "$schema": DIALECT,
    "$id": "event",
    "title": "Event",
    **d.record(
        {
            "id": d.said(d.ID, "The same wherever and however often the event is told."),
            "type": d.TEXT,
            "version": d.said(d.COUNT, "Version of the type, within which its schema only grows."),
            "timestamp": d.said(d.TIME, "When it happened."),
            "recorded_at": d.said(d.TIME, "When it became known here."),
            "workspace_id": d.ID,
            "subject": d.record({"type": d.TEXT, "id": d.ID}),
            "resource_version": d.said(d.maybe(d.COUNT), "Version of the subject after it; drop what is older."),
            "owner_id": d.maybe(d.ID),
            "actor_id": d.said(d.maybe(d.ID), "The member who did it; null where nobody did."),
            "request_id": d.maybe(d.TEXT),
            "traceparent": d.said(d.maybe(d.TEXT), "W3C trace context of what caused it."),
            "data": {"type": "object"},
        }
    ),
}


def envelope(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `events.outbox` as everybody outside sees it; ids and times are left to the caller's JSON encoder."""
    return {
        "id": row["id"],
        "type": row["type"],
        "version": row["version"],
        "timestamp": row["occurred_at"],
        "recorded_at": row["recorded_at"],
        "workspace_id": row["workspace_id"],
        "subject": {"type": row["subject_type"], "id": row["subject_id"]},
        "resource_version": row["resource_version"],
        "owner_id": row["owner_id"],
        "actor_id": row["actor_id"],
        "request_id": row["request_id"],
        "traceparent": row["traceparent"],
        "data": row["data"],
    }


# The columns of `events.outbox` that `envelope` reads.
COLUMNS = (
    "workspace_id", "id", "recorded_at", "type", "subject_type", "subject_id", "resource_version", "owner_id",
    "actor_id", "request_id", "traceparent", "occurred_at", "data", "version",
)  # fmt: skip


def _type(
    name: str, en: str, zh: str, schema: Schema, says: str, *, subject: str = "", **example: Any
) -> tuple[str, EventType]:
    subjects = tuple((subject or name.partition(".")[0]).split("|"))
    return name, EventType(name, subjects, Label(en, zh), says, schema, example_of(schema, subjects[0], example))


def _changes(what: str, en: str, zh: str, made: Schema, *, soft: bool = False) -> Iterable[tuple[str, EventType]]:
    """The types of a resource that is made and changed, and where `soft` is set deleted and restored."""
    yield _type(f"{what}.created", f"{en} recorded", f"{zh}已创建", made, f"The {en.lower()} as it was first recorded.")
    after = d.changed(made)
    yield _type(f"{what}.updated", f"{en} changed", f"{zh}已修改", after, f"The {en.lower()} after the change.")
    if soft:
        gone: dict[str, Any] = {"deleted_at": TIME, "changed": ["deleted_at"]}
        says = "It can be restored for 30 days."
        yield _type(f"{what}.deleted", f"{en} deleted", f"{zh}已删除", after, says, **gone)
        says = "A deletion was undone."
        yield _type(f"{what}.restored", f"{en} restored", f"{zh}已恢复", after, says, changed=["deleted_at"])


def _workspace() -> Iterable[tuple[str, EventType]]:
    yield _type("workspace.updated", "Workspace changed", "工作区已修改", d.WORKSPACE, "Its settings after the change.")
    yield _type("policy.updated", "Policy changed", "策略已修改", d.POLICY, "The whole policy after the change.")
    yield _type("member.created", "Member taken in", "成员已加入", d.MEMBER_MADE, "A member can now be an owner.")
    yield _type("member.updated", "Member changed", "成员已修改", d.MEMBER, "The member after the change.")
    yield _type("team.created", "Team made", "团队已创建", d.TEAM, "A team, with its members.")
    yield _type("team.updated", "Team changed", "团队已修改", d.changed(d.TEAM), "The team after the change.")
    yield _type("team.deleted", "Team removed", "团队已删除", d.changed(d.TEAM), "The team as it was; members stay.")
    key = "A key was made; its text is told once, to whoever made it."
    yield _type("api_key.created", "API key made", "密钥已创建", d.API_KEY, key)
    key = "The key no longer opens anything."
    yield _type("api_key.revoked", "API key revoked", "密钥已吊销", d.changed(d.API_KEY), key, revoked_at=TIME)
    yield from _changes("attribute", "Attribute", "属性", d.ATTRIBUTE)
    edition = "A process, or the next edition of one."
    yield _type("process.created", "Process made", "流程已创建", d.PROCESS_MADE, edition, key="complex_sale")
    yield _type("process.updated", "Process changed", "流程已修改", d.PROCESS, "The process after the change.")
    yield _type("import.created", "Import queued", "导入已排队", d.IMPORT, "An upload waits to be worked on.")
    says = "It ends after the batch under way."
    yield _type("import.cancelled", "Import cancelled", "导入已取消", d.changed(d.IMPORT), says, status="cancelled")
    says = "It has ended, however it ended; `status` says how."
    yield _type("import.completed", "Import completed", "导入已完成", d.IMPORTED, says, status="partially_failed")
    yield _type("export.created", "Export queued", "导出已排队", d.EXPORT, "A file waits to be made.")
    says = "It ends after the batch under way."
    yield _type("export.cancelled", "Export cancelled", "导出已取消", d.changed(d.EXPORT), says, status="cancelled")
    says = "It has ended, however it ended; `status` says how."
    yield _type("export.completed", "Export completed", "导出已完成", d.EXPORTED, says, status="succeeded")


def _facts() -> Iterable[tuple[str, EventType]]:
    yield from _changes("customer", "Customer", "客户", d.CUSTOMER, soft=True)
    given = "Somebody else looks after it now."
    yield _type(
        "customer.reassigned", "Customer handed over", "客户已移交", d.handed_over(d.CUSTOMER), given,
        changed=["owner_id", "owner_reason"],
    )  # fmt: skip
    yield from _changes("contact", "Contact", "联系人", d.CONTACT, soft=True)
    for what, en, zh in (("customer", "Customer", "客户"), ("contact", "Contact", "联系人")):
        says = f"Another {what} became part of this one; comes with `{what}.deleted` of that one."
        yield _type(f"{what}.merged", f"{en} merged", f"{zh}已合并", d.MERGED, says)
        says = f"A merge was undone; comes with `{what}.restored` of the other {what}."
        yield _type(f"{what}.unmerged", f"{en} merge undone", f"{zh}合并已撤销", d.MERGED, says)
    yield from _changes("product", "Product", "产品", d.PRODUCT, soft=True)
    yield from _changes("interaction", "Interaction", "沟通", d.INTERACTION, soft=True)
    yield from _changes("task", "Task", "待办", d.TASK, soft=True)
    after = d.changed(d.TASK)
    done: dict[str, Any] = {"status": "done", "completed_at": TIME, "changed": ["completed_at", "status"]}
    yield _type("task.completed", "Task done", "待办已完成", after, "It was done.", **done)
    yield _type("task.snoozed", "Task put off", "待办已推迟", after, "It is due later.", changed=["due_on"])
    yield _type("task.cancelled", "Task called off", "待办已取消", after, "It will not be done.", status="cancelled")
    says = "Its day has passed where the workspace is, and it is still open: told once for each day it was due on."
    yield _type("task.overdue", "Task overdue", "待办已逾期", d.TASK, says)


def _opportunities() -> Iterable[tuple[str, EventType]]:
    yield from _changes("opportunity", "Opportunity", "商机", d.OPPORTUNITY, soft=True)
    one: Callable[..., tuple[str, EventType]] = lambda name, *given, **example: _type(  # noqa: E731
        f"opportunity.{name}", *given, **example
    )
    given = d.handed_over(d.OPPORTUNITY)
    yield one("reassigned", "Opportunity handed over", "商机已移交", given, "Somebody else sells it now.",
              changed=["owner_id", "owner_reason"])  # fmt: skip
    part = d.plus(d.PART, {"role": d.CODE})
    yield one("member_added", "Opportunity shared with a member", "商机已共享给成员", part, "A member takes part.",
              role="specialist")  # fmt: skip
    says = "A member no longer takes part."
    yield one("member_removed", "Member's part in the opportunity ended", "商机成员已移除", d.PART, says)
    says = "One event for each milestone passed."
    yield one("milestone_passed", "Milestone passed", "里程点已通过", d.PASSED, says)
    says = "One event for each milestone that was gone back over."
    yield one("milestone_withdrawn", "Milestone withdrawn", "里程点已退回", d.PASSED, says)
    says = "A passage recorded by mistake no longer counts."
    yield one("milestone_voided", "Passage voided", "误记的里程点已作废", d.PASSED, says)
    says = "The milestone that wins was passed; comes beside `opportunity.milestone_passed`."
    yield one("won", "Opportunity won", "商机已赢单", d.OPPORTUNITY, says, status="won", won_at=TIME)
    closed: dict[str, Any] = {"closed_at": TIME, "reason": "price", "close_reason": "price"}
    says = "The customer bought elsewhere, or not at all."
    yield one("lost", "Opportunity lost", "商机已输单", d.CLOSED, says, status="lost", **closed)
    yield one(
        "abandoned", "Opportunity abandoned", "商机已放弃", d.CLOSED, "We gave it up.", status="abandoned", **closed
    )
    yield one("reopened", "Opportunity reopened", "商机已重新打开", d.CLOSED, "It is open again where it was.")
    says = "The contract fell through after it was won."
    yield one("cancelled", "Contract cancelled after winning", "赢单后取消", d.CANCELLED, says, status="cancelled")
    says = "Its class or its probability changed enough to be told."
    yield one("scored", "Opportunity judged", "商机已评估", d.SCORED, says)


def _focus() -> Iterable[tuple[str, EventType]]:
    subject = "opportunity|customer"
    says = "A subject came into, left, or moved between the bands of its owner's list; `cause` says why."
    yield _type("focus.moved", "A seat moved", "席位已变动", d.MOVE, says, subject=subject)
    pinned = "Held in a band by hand."
    yield _type("focus.pinned", "Subject pinned", "已置顶", d.PIN, pinned, subject=subject, kind="pin")
    muted = "Taken out of the list by hand."
    yield _type("focus.muted", "Subject muted", "已静默", d.PIN, muted, subject=subject, kind="mute", band=None)
    ended = "The subject is ranked by its merits again."
    yield _type("focus.pin_ended", "Pin ended", "置顶已结束", d.PIN, ended, subject=subject, kind="pin")
    yield _type("focus.mute_ended", "Mute ended", "静默已结束", d.PIN, ended, subject=subject, kind="mute", band=None)
    says = "A rep's own numbers of seats; null takes the workspace's."
    yield _type("focus.capacity_changed", "Capacity changed", "容量已修改", d.CAPACITY, says, subject="member")


def _endpoints() -> Iterable[tuple[str, EventType]]:
    """What becomes of webhook endpoints: told to all other endpoints that take `endpoint.*`."""
    one: Callable[..., tuple[str, EventType]] = lambda name, *given, **example: _type(  # noqa: E731
        f"endpoint.{name}", *given, **example
    )
    after = d.changed(d.ENDPOINT)
    yield one("created", "Webhook endpoint made", "接收端已创建", d.ENDPOINT, "Events are sent there from now on.")
    yield one(
        "updated", "Webhook endpoint changed", "接收端已修改", after, "What waits for it goes by the new settings."
    )
    says = "Nothing is sent there any more, and what waited is skipped."
    yield one("deleted", "Webhook endpoint removed", "接收端已删除", after, says, changed=[])
    says = "Deliveries are held back; `reason` is requested, failing (for five days), gone (410), or orphaned."
    yield one("disabled", "Webhook endpoint disabled", "接收端已停用", d.ENDPOINT_DISABLED, says, reason="failing")
    says = "Deliveries go on, those that waited first."
    yield one("enabled", "Webhook endpoint enabled", "接收端已启用", after, says, changed=["disabled"])
    says = "A new key signs; the old one does too until its grace ends."
    yield one("secret_rotated", "Webhook key replaced", "签名密钥已轮换", after, says, changed=[])
    says = "A delivery has failed four times."
    yield one("attempt_failing", "Delivery failing", "投递多次失败", d.DELIVERY_FAILED, says)
    says = "A delivery has failed for good; `:resend` and `:recover` send it again."
    yield one("exhausted", "Delivery given up", "投递已放弃", d.DELIVERY_FAILED, says, attempts=10)
    says = "It has done nothing but fail for 50, 70, 90 or 100 % of the five days after which it is disabled."
    yield one("failing", "Webhook endpoint failing", "接收端持续失败", d.ENDPOINT_FAILING, says, percent=50)
    says = "So much fails there that deliveries wait until `until`, when one is tried."
    yield one("paused", "Deliveries paused", "投递已暂停", d.ENDPOINT_PAUSED, says)
    says = "A delivery succeeded after failures."
    yield one("recovered", "Webhook endpoint recovered", "接收端已恢复", d.ENDPOINT_RECOVERED, says)
    jobs, status = d.WEBHOOK_JOB, {"kind": "recover", "status": "queued"}
    says = "Deliveries will be made again."
    yield _type("webhook_job.created", "Redelivery asked for", "重新投递已排队", jobs, says, **status)
    says = "What it has asked for so far is delivered all the same."
    yield _type("webhook_job.cancelled", "Redelivery called off", "重新投递已取消", d.changed(jobs), says, **status)
    says = "`requested` deliveries were made again, or for the first time."
    yield _type("webhook_job.completed", "Redelivery asked for in full", "重新投递已完成", jobs, says, kind="recover",
                status="succeeded")  # fmt: skip


EVENT_TYPES: dict[str, EventType] = dict((*_workspace(), *_facts(), *_opportunities(), *_focus(), *_endpoints()))


def matches(patterns: Iterable[str], type_: str) -> bool:
    """Whether a type is among the patterns: `opportunity.won`, `opportunity.*`, or `*` for all there will ever be."""
    return any(
        pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1])) for pattern in patterns
    )


def unknown(patterns: Iterable[str]) -> list[str]:
    """Those of the patterns that no type matches."""
    return [each for each in patterns if each != "*" and not any(matches((each,), name) for name in EVENT_TYPES)]
