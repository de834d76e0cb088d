"""What the codes of a judgement are called: factors, parts, criteria, flags, unknowns, stand-ins, causes of a move.

The scoring core knows no words; whoever shows a judgement takes them from here. A code of a later model that is
not listed yet is shown as it is.
"""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

FACTORS: Labels = {
    "base_rate": Label("Base rate of the remaining stages", "剩余阶段的基础赢率"),
    "need": Label("Need", "需求"),
    "pain": Label("Pain", "痛点"),
    "interest": Label("Interest", "兴趣"),
    "interest_signals": Label("Signals of interest", "兴趣信号"),
    "confidence": Label("How sure the customer seems", "客户信心"),
    "quiet": Label("Gone quiet", "不再回应"),
    "meetings": Label("Meetings", "会面"),
    "contact_age": Label("Last two-way contact", "最近一次双向沟通"),
    "reciprocity": Label("They answer", "客户有回应"),
    "coach": Label("Coach", "向导"),
    "executive": Label("Access to an executive", "接触决策层"),
    "breadth": Label("Contacts known", "已知联系人"),
    "budget_firmness": Label("Budget status", "预算状态"),
    "budget_cover": Label("Budget against our price", "预算与报价之比"),
    "date_firmness": Label("Firmness of the purchase date", "采购日期的确定程度"),
    "date_slips": Label("Slips of the purchase date", "采购日期推迟"),
    "time_fit": Label("Time for the remaining stages", "剩余阶段的时间"),
    "date_overdue": Label("Purchase date passed", "采购日期已过"),
    "fit": Label("Fit", "匹配度"),
    "rival": Label("Lead over the best rival", "对最强对手的优势"),
    "stage_pace": Label("Pace in this stage", "本阶段进度"),
    "next_step": Label("Next step", "下一步"),
    "promises": Label("Promises kept", "承诺兑现"),
    "handover": Label("New owner", "更换负责人"),
    "attributes": Label("Attributes of the workspace's own", "自定义属性"),
    "limit": Label("Held within 0.5 % and 99.5 %", "限制在 0.5 % 至 99.5 % 之间"),
}

CRITERIA: Labels = {
    "budget": Label("Budget", "预算"),
    "timeline": Label("Timeline", "采购时间表"),
    "fit": Label("Fit", "匹配度"),
    "worth": Label("Worth", "值得投入"),
    "win_probability": Label("Win probability", "赢率"),
}

PARTS: Labels = {
    "budget_firmness": Label("Firmness of the budget", "预算确定程度"),
    "budget_cover": Label("Budget as a share of our price", "预算占报价的比例"),
    "nearness": Label("Nearness of the purchase date", "采购日期的远近"),
    "date_firmness": Label("Firmness of the purchase date", "采购日期的确定程度"),
    "time_fit": Label("Room for the remaining stages", "剩余阶段的时间余地"),
    "date_steadiness": Label("Steadiness of the purchase date", "采购日期的稳定程度"),
    "fit_score": Label("How well we meet their conditions", "我方满足成交条件的程度"),
    "fit_lead": Label("Lead over the best rival", "对最强对手的优势"),
    "selling_cost": Label("Cost to sell", "销售成本"),
    "net_worth": Label("Margin less the cost to sell", "毛利减销售成本"),
    "base_win_rate": Label("Base win rate of the remaining stages", "剩余阶段的基础赢率"),
    "cadence_days": Label("Days between contacts", "联系间隔天数"),
    "known_share": Label("Share of the facts that are known", "已知事实的比例"),
}

# What the order of the seats comes from, beside the factors of the win probability.
PRIORITY_REASONS: Labels = {
    "margin": Label("Expected margin", "预期毛利"),
    "urgency": Label("Urgency", "紧迫程度"),
    "hours": Label("Hours of work left", "剩余工时"),
    "no_opportunity": Label("No open opportunity", "没有进行中的商机"),
}

FLAGS: Labels = {
    "purchase_date_overdue": Label("Purchase date has passed", "采购日期已过"),
    "qualified": Label("Qualified: clear, near and worth it", "明确、临近且值得投入"),
    "cadence_due": Label("Due for contact", "该联系了"),
    "cadence_overdue": Label("Contact overdue", "逾期未联系"),
    "being_forgotten": Label("Being forgotten", "正被遗忘"),
    "interest_dead": Label("Interest is dead", "兴趣已消失"),
    "resting": Label("Resting until the agreed date", "按约定暂缓"),
    "gone_quiet": Label("Went quiet", "不再回应"),
    "no_next_step": Label("No next step", "没有下一步"),
    "next_step_overdue": Label("Next step overdue", "下一步已逾期"),
    "no_coach": Label("No coach", "没有向导"),
    "no_executive": Label("No access to an executive", "未接触决策层"),
    "promise_overdue": Label("A promise of ours is overdue", "我方承诺已逾期"),
    "stage_stalled": Label("Stalled in its stage", "在本阶段停滞"),
    "time_too_short": Label("Too little time for the remaining stages", "剩余阶段时间不足"),
    "date_slipping": Label("Purchase date keeps slipping", "采购日期一再推迟"),
    "unprofitable": Label("Expected margin is negative", "预期毛利为负"),
    "little_known": Label("Little is known", "所知甚少"),
    "never_contacted": Label("Never contacted", "从未联系"),
    "class_from_stage": Label("Class rests on the stage alone", "分类仅依据阶段"),
    "class_held_down": Label("Class held down by dead interest", "因兴趣消失而降类"),
}

UNKNOWNS: Labels = {
    "amount": Label("Amount", "金额"),
    "margin_rate": Label("Margin rate", "毛利率"),
    "cost_to_deliver": Label("Cost to deliver", "交付成本"),
    "delivery_risk": Label("Risk of delivery", "交付风险"),
    "payment_risk": Label("Risk of non-payment", "回款风险"),
    "budget_amount": Label("Size of the budget", "预算金额"),
    "budget_status": Label("Status of the budget", "预算状态"),
    "purchase_date": Label("Purchase date", "采购日期"),
    "purchase_date_firmness": Label("How firm the purchase date is", "采购日期的确定程度"),
    "purchase_date_slips": Label("How often the purchase date slipped", "采购日期推迟次数"),
    "fit_score": Label("How well we meet their conditions", "我方满足成交条件的程度"),
    "rival_fit_score": Label("How well the best rival meets them", "最强对手满足成交条件的程度"),
    "need_known": Label("Need", "需求"),
    "pain_known": Label("Pain", "痛点"),
    "line": Label("Short or long line", "短线或长线"),
    "stage_entered_at": Label("When this stage began", "本阶段开始时间"),
    "stage_typical_days": Label("Typical length of this stage", "本阶段的通常时长"),
    "remaining_win_rate": Label("Base win rate of the remaining stages", "剩余阶段的基础赢率"),
    "remaining_days": Label("Typical length of the remaining stages", "剩余阶段的通常时长"),
    "remaining_hours": Label("Typical work of the remaining stages", "剩余阶段的通常工时"),
    "two_way_count": Label("Number of two-way contacts", "双向沟通次数"),
    "meeting_count": Label("Number of meetings", "会面次数"),
    "last_two_way_at": Label("Last two-way contact", "最近一次双向沟通"),
    "positive_signals": Label("Signals of interest", "兴趣信号"),
    "negative_signals": Label("Signals of fading interest", "兴趣减退信号"),
    "confidence": Label("How sure the customer seems", "客户信心"),
    "contact_count": Label("Number of contacts", "联系人数量"),
    "has_coach": Label("Whether there is a coach", "是否有向导"),
    "has_executive": Label("Whether we know an executive", "是否接触决策层"),
    "promises_kept": Label("Promises kept", "已兑现的承诺"),
    "promises_broken": Label("Promises broken", "未兑现的承诺"),
    "promises_overdue": Label("Promises overdue", "逾期的承诺"),
    "interest": Label("Interest", "兴趣"),
}

IMPUTED: Labels = {
    "margin": Label("Margin: median of the process", "毛利：取流程中位数"),
    "margin_rate": Label("Margin rate: median of the process", "毛利率：取流程中位数"),
    "delivery_cost_share": Label("Cost to deliver: median of the process", "交付成本：取流程中位数"),
    "delivery_risk": Label("Risk of delivery: median of the process", "交付风险：取流程中位数"),
    "payment_risk": Label("Risk of non-payment: median of the process", "回款风险：取流程中位数"),
    "win_rate": Label("Base win rate: median of the process", "基础赢率：取流程中位数"),
    "slack_days": Label("Days to spare: median of the process", "富余天数：取流程中位数"),
    "remaining_days": Label("Remaining days: median of the process", "剩余天数：取流程中位数"),
    "remaining_hours": Label("Remaining hours: median of the process", "剩余工时：取流程中位数"),
}

MOVE_CAUSES: Labels = {
    "none": Label("No cause", "无原因"),
    "arrived": Label("New among the seats", "新进入席位"),
    "reassigned": Label("Handed to another rep", "更换负责人"),
    "muted": Label("Muted", "已静默"),
    "mute_ended": Label("The mute ended", "静默结束"),
    "pinned": Label("Pinned", "已固定"),
    "pin_ended": Label("The pin ended", "固定结束"),
    "class_gained": Label("Evidence raised its class", "证据使分类上升"),
    "class_lost": Label("Its class fell", "分类下降"),
    "seat_freed": Label("A seat was freed", "席位空出"),
    "seat_vacant": Label("A seat was vacant", "有空席位"),
    "overtook": Label("Overtook another", "超过其他席位"),
    "displaced": Label("Displaced by another", "被其他席位取代"),
    "capacity_changed": Label("The capacity changed", "容量变更"),
    "closed": Label("Closed", "已关闭"),
    "removed": Label("Removed", "已移除"),
    "opportunity_opened": Label("An opportunity of the customer was opened", "客户有了进行中的商机"),
    "signed": Label("Signed: now in after-care", "已签单，进入售后关怀"),
}

PIN_KINDS: Labels = {
    "pin": Label("Pin", "固定"),
    "mute": Label("Mute", "静默"),
}
