"""Process templates that ship with the product (DOMAIN §7).

Base win rates are the chance of passing that stage's milestone once the stage is reached. They are starting points:
the workspace's own outcomes take over as they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.catalog.labels import Label


@dataclass(frozen=True, slots=True)
class StageTemplate:
    key: str
    name: Label
    milestone: Label
    purpose: str
    typical_days: float
    typical_hours: float
    base_win_rate: float
    irreversible: bool = True
    wins: bool = False
    side: str = "customer"
    skippable: bool = False
    evidences_class: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessTemplate:
    key: str
    name: Label
    stages: tuple[StageTemplate, ...]


COMPLEX_SALE = ProcessTemplate(
    "complex_sale",
    Label("Complex sale", "复杂销售"),
    (
        StageTemplate(
            "identify_assign", Label("Identify & assign", "客户识别分配"),
            Label("Customer assigned to a rep", "客户已分配给销售"),
            "Decide who looks after this customer; not reassigned lightly.", 5, 2, 0.75, side="ours",
        ),
        StageTemplate(
            "latent_need", Label("Latent need", "潜在需求识别"),
            Label("The moment to solve the business problem has come", "解决业务问题的时机到来"),
            "Find the problem behind the purchase and whether its time has come.", 30, 8, 0.6,
        ),
        StageTemplate(
            "need_criteria", Label("Need & criteria", "需求评估影响"),
            Label("Specification and budget frozen", "规格与预算冻结"),
            "Influence what is asked for before it can no longer be changed.", 30, 12, 0.65, evidences_class="B",
        ),
        StageTemplate(
            "solution_evaluation", Label("Solution evaluation", "方案定制评估"),
            Label("Verdict on our technical solution", "技术方案评审结论"),
            "Make and defend a solution that fits.", 30, 20, 0.7, evidences_class="C",
        ),
        StageTemplate(
            "commercial_evaluation", Label("Commercial evaluation", "商务评估推进"),
            Label("Verdict on our commercial offer", "商务评审结论"),
            "Carry the offer through the commercial department or audit.", 20, 10, 0.75, evidences_class="C",
        ),
        StageTemplate(
            "negotiate_sign", Label("Negotiate & sign", "商务谈判签约"),
            Label("Contract signed", "合同签订"),
            "Agree terms and sign.", 20, 10, 0.8, wins=True, evidences_class="C",
        ),
        StageTemplate(
            "deliver", Label("Deliver", "交付实施"),
            Label("Contract fulfilled or ended", "合同履行完毕或终止"),
            "Keep what was promised.", 60, 16, 0.97, side="ours",
        ),
        StageTemplate(
            "strengthen_relation", Label("Strengthen relation", "客户关系加强"),
            Label("The customer confirms the value", "客户确认价值"),
            "Learn how they see us, and link the next opportunity.", 60, 8, 0.8,
        ),
    ),
)  # fmt: skip

CASH_AND_CARRY = ProcessTemplate(
    "cash_and_carry",
    Label("Cash and carry", "现款现货"),
    (
        StageTemplate(
            "sell", Label("Sell", "销售"), Label("Payment received", "收到货款"),
            "Sell and be paid on the spot.", 7, 2, 0.4, wins=True,
        ),
    ),
)  # fmt: skip

TEMPLATES = {template.key: template for template in (COMPLEX_SALE, CASH_AND_CARRY)}
