"""Reasons in words: each code with the concrete facts behind it, in the reader's language.

A reason whose facts are not at hand any more (they may have changed since it was judged) falls back to its label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.api.reasons.facts import Situation
from services.api.reasons.judged import Judged
from shared.catalog.labels import Label
from shared.catalog.scoring import FACTORS, PRIORITY_REASONS
from shared.catalog.selling import BUDGET_STATUSES, DATE_FIRMNESS, INTEREST_LEVELS

Words = tuple[Label, dict[str, Any]] | None
Told = Callable[[Situation, Judged], Words]


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _base_rate(_: Situation, judged: Judged) -> Words:
    rate = judged.parts.get("base_win_rate")
    if rate is None:
        return None
    return Label("Base win rate of the remaining stages {rate}", "剩余阶段的基础赢率 {rate}"), {"rate": percent(rate)}


def _attributes(_: Situation, judged: Judged) -> Words:
    speak_for = (judged.contributions.get("attributes") or 0.0) > 0
    for_it, against = (
        Label("Custom attributes speak for it", "自定义属性有利"),
        Label("Custom attributes speak against it", "自定义属性不利"),
    )
    return (for_it if speak_for else against), {}


def _need(_: Situation, judged: Judged) -> Words:
    known = (judged.contributions.get("need") or 0.0) > 0
    return (Label("Need is understood", "需求已明确") if known else Label("Need is not understood", "需求不明确")), {}


def _pain(_: Situation, judged: Judged) -> Words:
    known = (judged.contributions.get("pain") or 0.0) > 0
    return (Label("Pain is understood", "痛点已明确") if known else Label("Pain is not understood", "痛点不明确")), {}


def _interest(about: Situation, _: Judged) -> Words:
    return _coded(Label("Interest: {what}", "兴趣：{what}"), about, "interest", INTEREST_LEVELS)


def _coded(label: Label, about: Situation, column: str, labels: dict[str, Label]) -> Words:
    code = about.row[column]
    return None if code not in labels else (label, {"what": labels[code].in_language(about.language)})


def _signals(about: Situation, _: Judged) -> Words:
    text = Label(
        "Signals in 90 days: {positive} of interest, {negative} of fading interest",
        "90 天内信号：感兴趣 {positive} 次，兴趣减退 {negative} 次",
    )
    return text, {"positive": int(about.row["positive"] or 0), "negative": int(about.row["negative"] or 0)}


def _confidence(about: Situation, _: Judged) -> Words:
    sure = about.row["confidence"]
    return (
        None if sure is None else (Label("The customer seems {sure} sure", "客户信心 {sure}"), {"sure": percent(sure)})
    )


def _quiet(about: Situation, _: Judged) -> Words:
    days = about.days_since(about.row["quiet_at"])
    text = Label("Went quiet or postponed {days} days ago, no answer since", "{days} 天前不再回应或推迟，此后无回音")
    return None if days is None else (text, {"days": days})


def _meetings(about: Situation, _: Judged) -> Words:
    count = about.row["meetings"]
    return None if count is None else (Label("Meetings held: {count}", "已会面 {count} 次"), {"count": count})


def _contact_age(about: Situation, _: Judged) -> Words:
    days = about.days_since(about.row["last_two_way_at"])
    text = Label("Last two-way contact {days} days ago", "最近一次双向沟通在 {days} 天前")
    return None if days is None else (text, {"days": days})


def _reciprocity(about: Situation, _: Judged) -> Words:
    count = about.row["two_way"]
    return None if count is None else (Label("Two-way contacts: {count}", "双向沟通 {count} 次"), {"count": count})


def _coach(about: Situation, _: Judged) -> Words:
    found = Label("A coach keeps us informed", "有向导提供信息")
    return (found if about.row["coach"] else Label("No coach yet", "还没有向导")), {}


def _executive(about: Situation, _: Judged) -> Words:
    found = Label("An executive is among our contacts", "已接触决策层")
    return (found if about.row["executive"] else Label("No executive among our contacts", "未接触决策层")), {}


def _breadth(about: Situation, _: Judged) -> Words:
    count = about.row["contacts"]
    return None if count is None else (Label("Contacts known: {count}", "已知联系人 {count} 位"), {"count": count})


def _budget_firmness(about: Situation, _: Judged) -> Words:
    return _coded(Label("Budget: {what}", "预算：{what}"), about, "budget_status", BUDGET_STATUSES)


def _budget_cover(about: Situation, _: Judged) -> Words:
    budget, amount = about.row["budget_amount"], about.row["amount"]
    if budget is None or not amount:
        return None
    return Label("The budget covers {cover} of our price", "预算为报价的 {cover}"), {
        "cover": percent(float(budget) / float(amount))
    }


def _date_firmness(about: Situation, _: Judged) -> Words:
    return _coded(Label("Purchase date: {what}", "采购日期：{what}"), about, "purchase_date_firmness", DATE_FIRMNESS)


def _date_slips(about: Situation, _: Judged) -> Words:
    slips = about.row["purchase_date_slips"]
    text = Label("The purchase date has slipped {slips} times", "采购日期已推迟 {slips} 次")
    return text, {"slips": slips}


def _time_fit(about: Situation, judged: Judged) -> Words:
    days, room = about.days_until(about.row["purchase_date"]), judged.parts.get("time_fit")
    if days is None or room is None:
        return None
    text = Label(
        "{days} days until the purchase date: room for {room} of the remaining stages",
        "距采购日期 {days} 天：可容纳剩余阶段的 {room}",
    )
    return text, {"days": max(days, 0), "room": percent(room)}


def _date_overdue(about: Situation, _: Judged) -> Words:
    days = about.days_until(about.row["purchase_date"])
    text = Label("The purchase date passed {days} days ago", "采购日期已过 {days} 天")
    return None if days is None or days >= 0 else (text, {"days": -days})


def _fit(about: Situation, _: Judged) -> Words:
    fit = about.row["fit_score"]
    text = Label("We meet {fit} of their conditions", "我方满足成交条件的 {fit}")
    return None if fit is None else (text, {"fit": percent(fit)})


def _rival(about: Situation, _: Judged) -> Words:
    fit, rival = about.row["fit_score"], about.row["rival_fit_score"]
    if fit is None or rival is None:
        return None
    ahead = Label("{points} points ahead of the best rival", "领先最强对手 {points} 个百分点")
    behind = Label("{points} points behind the best rival", "落后最强对手 {points} 个百分点")
    return (ahead if fit >= rival else behind), {"points": round(abs(fit - rival) * 100)}


def _stage_pace(about: Situation, _: Judged) -> Words:
    days, typical = about.days_since(about.row["stage_entered_at"]), about.row["typical_days"]
    if days is None or typical is None:
        return None
    return Label("{days} days in this stage, {typical} are typical", "本阶段已 {days} 天，通常 {typical} 天"), {
        "days": days,
        "typical": f"{typical:g}",
    }


def _next_step(about: Situation, _: Judged) -> Words:
    on = about.row["next_step_on"]
    if on is None:
        return None
    ahead = on >= about.today
    text = (
        Label("Next step on {on}", "下一步在 {on}")
        if ahead
        else Label("Next step overdue since {on}", "下一步自 {on} 逾期")
    )
    return text, {"on": on.isoformat()}


def _promises(about: Situation, _: Judged) -> Words:
    made = about.row["made"]
    text = Label("{kept} of {made} promises kept", "{made} 个承诺已兑现 {kept} 个")
    return (text, {"kept": about.row["kept"], "made": made}) if made else None


def _handover(about: Situation, _: Judged) -> Words:
    days = about.days_since(about.row["owner_changed_at"])
    return None if days is None else (Label("A new owner for {days} days", "更换负责人 {days} 天"), {"days": days})


def _margin(about: Situation, judged: Judged) -> Words:
    values = {"margin": f"{judged.margin:,.0f}", "currency": about.currency}
    if "margin" in judged.imputed:
        text = Label(
            "Amount unknown: a margin of {margin} {currency} is assumed", "金额未知：按毛利 {margin} {currency} 估算"
        )
        return text, values
    return Label("Expected margin {margin} {currency}", "预期毛利 {margin} {currency}"), values


def _urgency(about: Situation, judged: Judged) -> Words:
    days = about.days_until(about.row["purchase_date"])
    values = {"days": abs(days or 0), "urgency": f"{judged.urgency:.2g}"}
    if days is None:
        return Label(
            "Purchase date unknown: urgency {urgency} is assumed", "采购日期未知：按紧迫度 {urgency} 估算"
        ), values
    if days < 0:
        return Label(
            "Purchase date passed {days} days ago: urgency {urgency}", "采购日期已过 {days} 天：紧迫度 {urgency}"
        ), values
    return Label("Purchase date in {days} days: urgency {urgency}", "{days} 天后采购：紧迫度 {urgency}"), values


def _hours(_: Situation, judged: Judged) -> Words:
    return Label("About {hours} hours of work left", "约剩 {hours} 小时工作"), {"hours": f"{judged.hours:.3g}"}


def _limit(_: Situation, judged: Judged) -> Words:
    return Label("Held at {p}: never 0 %, never 100 %", "限制为 {p}：不取 0 % 或 100 %"), {
        "p": f"{judged.probability:.1%}"
    }


TOLD: dict[str, Told] = {
    "base_rate": _base_rate, "need": _need, "pain": _pain, "interest": _interest, "interest_signals": _signals,
    "confidence": _confidence, "quiet": _quiet, "meetings": _meetings, "contact_age": _contact_age,
    "reciprocity": _reciprocity, "coach": _coach, "executive": _executive, "breadth": _breadth,
    "budget_firmness": _budget_firmness, "budget_cover": _budget_cover, "date_firmness": _date_firmness,
    "date_slips": _date_slips, "time_fit": _time_fit, "date_overdue": _date_overdue, "fit": _fit, "rival": _rival,
    "stage_pace": _stage_pace, "next_step": _next_step, "promises": _promises, "handover": _handover,
    "attributes": _attributes, "limit": _limit, "margin": _margin, "urgency": _urgency, "hours": _hours,
}  # fmt: skip


def sentence(code: str, about: Situation, judged: Judged) -> str:
    """One reason in words."""
    told = TOLD[code](about, judged) if code in TOLD else None
    if told is None:
        known = FACTORS.get(code) or PRIORITY_REASONS.get(code)
        return known.in_language(about.language) if known else code
    text, values = told
    return text.in_language(about.language).format(**values)


def no_opportunity(language: str) -> str:
    """Why a customer without an open opportunity stands where it does."""
    text = Label("No open opportunity yet: find out what they need", "尚无进行中的商机：先了解客户需求")
    return text.in_language(language)
