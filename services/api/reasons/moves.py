"""Causes of moves in words: why a subject changed its band, and what set it off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.api.reasons.judged import label
from shared.catalog.labels import Label, Labels
from shared.catalog.scoring import MOVE_CAUSES

# What a move says when the other subject in it is known by name.
BY_ANOTHER: Labels = {
    "seat_freed": Label("Took the place of {by}", "接替 {by} 的席位"),
    "overtook": Label("Overtook {by}", "超过 {by}"),
    "displaced": Label("Displaced by {by}", "被 {by} 取代"),
}
EVENTS: Labels = {
    "contact.created": Label("a contact was recorded", "新建联系人"),
    "contact.deleted": Label("a contact was deleted", "联系人已删除"),
    "contact.restored": Label("a contact was restored", "联系人已恢复"),
    "contact.updated": Label("facts of a contact changed", "联系人信息变更"),
    "customer.created": Label("a customer was recorded", "新建客户"),
    "customer.deleted": Label("the customer was deleted", "客户已删除"),
    "customer.reassigned": Label("the customer was handed over", "客户更换负责人"),
    "customer.restored": Label("the customer was restored", "客户已恢复"),
    "customer.updated": Label("facts of the customer changed", "客户信息变更"),
    "focus.capacity_changed": Label("the capacity was changed", "容量变更"),
    "focus.mute_ended": Label("a mute was ended", "静默已取消"),
    "focus.muted": Label("it was muted", "设为静默"),
    "focus.pin_ended": Label("a pin was ended", "固定已取消"),
    "focus.pinned": Label("it was pinned", "设为固定"),
    "import.completed": Label("an import", "数据导入"),
    "interaction.created": Label("an interaction was recorded", "新增沟通记录"),
    "interaction.deleted": Label("an interaction was deleted", "沟通记录已删除"),
    "interaction.restored": Label("an interaction was restored", "沟通记录已恢复"),
    "interaction.updated": Label("an interaction was corrected", "沟通记录变更"),
    "member.created": Label("a member joined", "新增成员"),
    "member.updated": Label("the member was changed", "成员信息变更"),
    "opportunity.abandoned": Label("it was abandoned", "已放弃"),
    "opportunity.cancelled": Label("the contract was cancelled", "合同取消"),
    "opportunity.created": Label("an opportunity was recorded", "新建商机"),
    "opportunity.deleted": Label("it was deleted", "已删除"),
    "opportunity.lost": Label("it was lost", "输单"),
    "opportunity.milestone_passed": Label("a milestone was passed", "通过里程点"),
    "opportunity.milestone_voided": Label("a passage was voided", "里程点作废"),
    "opportunity.milestone_withdrawn": Label("it went back", "退回"),
    "opportunity.reassigned": Label("it was handed over", "更换负责人"),
    "opportunity.reopened": Label("it was reopened", "重新打开"),
    "opportunity.restored": Label("it was restored", "已恢复"),
    "opportunity.updated": Label("facts changed", "事实变更"),
    "opportunity.won": Label("it was won", "赢单"),
    "policy.updated": Label("the policy was changed", "策略变更"),
    "task.cancelled": Label("a task was cancelled", "任务已取消"),
    "task.completed": Label("a task was completed", "任务已完成"),
    "task.created": Label("a task was recorded", "新建任务"),
    "task.deleted": Label("a task was deleted", "任务已删除"),
    "task.restored": Label("a task was restored", "任务已恢复"),
    "task.snoozed": Label("a task was put off", "任务已延后"),
    "task.updated": Label("a task changed", "任务变更"),
    "time.passed": Label("time passed", "时间推移"),
    "workspace.updated": Label("the workspace was changed", "工作区设置变更"),
}
# Where the cause already says what the event was.
_SAID_ALREADY = {
    "capacity_changed": "focus.capacity_changed",
    "muted": "focus.muted",
    "pinned": "focus.pinned",
    "reassigned": "opportunity.reassigned",
    "opportunity_opened": "opportunity.created",
}
_SET_OFF = Label("{what}: {event}", "{what}：{event}")


def cause_text(cause: Mapping[str, Any], by_name: str | None, language: str) -> str:
    """One cause in words: what happened in the order, and the event that set it off."""
    code = cause.get("code", "none")
    if by_name is not None and code in BY_ANOTHER:
        what = BY_ANOTHER[code].in_language(language).format(by=by_name)
    else:
        what = label(code, MOVE_CAUSES, language)
    event = (cause.get("event") or {}).get("type")
    if event not in EVENTS or _SAID_ALREADY.get(code) == event:
        return what
    return _SET_OFF.in_language(language).format(what=what, event=EVENTS[event].in_language(language))
