"""Codes of customers, opportunities and the triage (DOMAIN §3 to §9)."""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

CUSTOMER_KINDS: Labels = {
    "organisation": Label("Organisation", "单位"),
    "household": Label("Household", "家庭"),
}
TIERS: Labels = {
    "core": Label("Core", "核心"),
    "key": Label("Key", "重点"),
    "normal": Label("Normal", "一般"),
}
CONTACT_FUNCTIONS: Labels = {
    "using": Label("Using department", "使用部门"),
    "technical": Label("Technical department", "技术部门"),
    "purchasing": Label("Purchasing", "采购部门"),
    "finance": Label("Finance", "财务部门"),
    "management": Label("Management", "管理层"),
    "other": Label("Other", "其他"),
}
CONTACT_LEVELS: Labels = {
    "operational": Label("Operational", "操作层"),
    "managerial": Label("Managerial", "管理层"),
    "executive": Label("Executive", "决策层"),
}
PERSONALITIES: Labels = {
    "peacock": Label("Expressive (peacock)", "孔雀型"),
    "koala": Label("Amiable (koala)", "考拉型"),
    "owl": Label("Analytical (owl)", "猫头鹰型"),
    "tiger": Label("Driver (tiger)", "老虎型"),
}
STATUSES: Labels = {
    "open": Label("Open", "进行中"),
    "won": Label("Won", "赢单"),
    "lost": Label("Lost", "输单"),
    "abandoned": Label("Abandoned", "放弃"),
    "cancelled": Label("Cancelled after winning", "赢单后取消"),
}
ACTIONS: Labels = {
    "pass": Label("Pass the milestone", "通过里程点"),
    "back": Label("Go back", "退回"),
    "void": Label("Void a passage recorded by mistake", "作废误记"),
    "lose": Label("Lose", "输单"),
    "abandon": Label("Abandon", "放弃"),
    "reopen": Label("Reopen", "重新打开"),
    "cancel": Label("Cancel after winning", "赢单后取消"),
}
CLASSES: Labels = {
    "A": Label("A: lead", "A 意向客户"),
    "B": Label("B: worth following up", "B 可跟进客户"),
    "C": Label("C: precise", "C 精准客户"),
    "D": Label("D: signed", "D 签单客户"),
}
CLASS_CODES = ("A", "B", "C", "D")
BANDS: Labels = {
    "engage": Label("Engage", "攻击"),
    "track": Label("Track", "跟踪"),
    "monitor": Label("Monitor", "监控"),
    "backlog": Label("Backlog", "积压"),
    "muted": Label("Muted", "静默"),
}
LINES: Labels = {
    "short": Label("Short line: in a hurry", "短线"),
    "long": Label("Long line: not in a hurry", "长线"),
}
INTEREST_LEVELS: Labels = {
    "none": Label("None", "无"),
    "weak": Label("Weak", "弱"),
    "interested": Label("Interested", "有兴趣"),
    "firm": Label("Firm", "强烈"),
}
BUDGET_STATUSES: Labels = {
    "none": Label("None", "无预算"),
    "indicated": Label("Indicated", "有意向"),
    "requested": Label("Requested", "已申请"),
    "approved": Label("Approved", "已批准"),
    "locked": Label("Locked", "已锁定"),
}
DATE_FIRMNESS: Labels = {
    "guessed": Label("Guessed by us", "我方估计"),
    "stated": Label("Stated by the customer", "客户口头"),
    "firm": Label("Firm", "确定"),
}
CLOSE_REASONS: Labels = {
    "product": Label("Product", "产品"),
    "brand": Label("Brand", "品牌"),
    "support": Label("Support", "支持"),
    "service": Label("Service", "服务"),
    "price": Label("Price", "价格"),
    "person": Label("The person", "人"),
    "timing": Label("Timing", "时机"),
    "competitor": Label("Competitor", "竞争对手"),
    "budget": Label("Budget", "预算"),
    "no_decision": Label("No decision", "未决策"),
    "not_worth_it": Label("Not worth our effort", "不值得投入"),
    "other": Label("Other", "其他"),
}
SIDES: Labels = {
    "ours": Label("Ours", "我方"),
    "customer": Label("The customer's", "客户方"),
}
OPPORTUNITY_ROLES: Labels = {
    "specialist": Label("Specialist", "专家"),
    "collaborator": Label("Collaborator", "协作者"),
}
ATTRIBUTE_KINDS: Labels = {
    "number": Label("Number", "数字"),
    "category": Label("Category", "类别"),
    "boolean": Label("Yes or no", "是否"),
    "date": Label("Date", "日期"),
    "text": Label("Text", "文本"),
}
