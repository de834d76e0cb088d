"""Kinds of touch and the signals a customer gives in them (DOMAIN §5, §8)."""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

INTERACTION_KINDS: Labels = {
    "call": Label("Call", "电话"),
    "message": Label("Message", "消息"),
    "email": Label("E-mail", "邮件"),
    "visit": Label("Visit", "拜访"),
    "meeting": Label("Meeting", "会议"),
    "business_meal": Label("Business meal", "商务宴请"),
    "site_tour": Label("Local site tour", "本地参观"),
    "distant_site_tour": Label("Distant site tour", "异地参观"),
    "technical_exchange": Label("Technical exchange", "技术交流"),
    "demo": Label("Demonstration", "产品演示"),
    "trial": Label("Trial or sample", "试用或样品"),
    "small_gift": Label("Small gift", "小礼品"),
    "social_event": Label("Social or sport event", "社交或体育活动"),
    "family_activity": Label("Family activity", "家庭活动"),
    "introduction": Label("Introduction", "引荐"),
    "quotation": Label("Quotation talk", "报价沟通"),
    "negotiation": Label("Negotiation", "谈判"),
    "after_care": Label("After-care", "售后关怀"),
    "other": Label("Other", "其他"),
}
# Both sides in one place: what D9.1 calls a real meeting.
MEETING_KINDS = (
    "meeting", "visit", "business_meal", "site_tour", "distant_site_tour", "technical_exchange", "demo", "trial",
    "social_event", "family_activity", "negotiation",
)  # fmt: skip

DIRECTIONS: Labels = {
    "two_way": Label("Both sides spoke", "双向沟通"),
    "inbound": Label("The customer to us", "客户主动"),
    "outbound": Label("We to the customer", "我方单向"),
}

POSITIVE_SIGNALS = ("asks_questions", "finds_fault", "contacts_us", "brings_others")
NEGATIVE_SIGNALS = ("goes_quiet", "postpones")
SIGNALS: Labels = {
    "asks_questions": Label("Asks many questions", "问得多"),
    "finds_fault": Label("Finds fault with product or price", "挑剔"),
    "contacts_us": Label("Contacts us unprompted", "主动联系"),
    "brings_others": Label("Brings others in", "带其他人参与"),
    "goes_quiet": Label("Goes quiet", "不再回应"),
    "postpones": Label("Postpones", "一再推迟"),
}

SETTING_QUALITIES: Labels = {
    "good": Label("Quiet, enough time", "安静充裕"),
    "fair": Label("Fair", "一般"),
    "poor": Label("Disturbed or rushed", "嘈杂仓促"),
}

TASK_KINDS: Labels = {
    "promise": Label("Promise", "承诺"),
    "next_step": Label("Next step", "下一步"),
    "stage_work": Label("Stage work", "阶段工作"),
    "greeting": Label("Greeting", "问候"),
    "other": Label("Other", "其他"),
}
TASK_STATUSES: Labels = {
    "open": Label("Open", "待办"),
    "done": Label("Done", "已完成"),
    "cancelled": Label("Cancelled", "已取消"),
}
