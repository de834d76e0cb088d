"""Who and what there is: the team, what it sells, how it sells it, and the days it works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from shared.catalog.templates import CASH_AND_CARRY, COMPLEX_SALE

WORKSPACE_NAME = "晴川机械 Fairstream Machinery (demo)"
CURRENCY = "CNY"
TIME_ZONE = "Asia/Shanghai"
# China keeps one time the year round, so that a simulated hour needs no table of zones.
LOCAL = timezone(timedelta(hours=8))
YEAR_DAYS = 365
EXTERNAL_SOURCE = "demo"
# Money of other currencies is converted by a table of the workspace.
POLICY = {"rates": {"USD": "7.1"}, "cost_per_hour": 220}
USD_RATE = 7.1


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the demo team. `capacities`: engage, track, monitor; the workspace's own where None."""

    key: str
    name: str
    role: str
    capacities: tuple[int, int, int] | None = None

    @property
    def email(self) -> str:
        return f"{self.key}@fairstream.example.com"


@dataclass(frozen=True, slots=True)
class Rep:
    """How a salesperson works: their book, and what a day of theirs holds.

    `book` customers are theirs on the first day and `leads` come in over the year; a day has `calls` first calls
    and `touches` of running deals on average; `skill` shifts the odds; `discipline` is the share of talks that end
    with a dated next step, `reliability` that of promises kept.
    """

    person: Person
    book: int
    leads: int
    calls: float
    touches: float
    skill: float
    discipline: float
    reliability: float
    chinese: float
    conversion: float = 0.5


MANAGER = Person("he.jing", "何静 He Jing", "manager")
FOCUS_REP = "lin.lan"
SMALL_BOOK_REP = "sofia.brandt"
SMALL_CAPACITY_REP = "chen.yinuo"
REPS = (
    Rep(
        Person(FOCUS_REP, "林岚 Lin Lan", "rep"),
        book=330,
        leads=420,
        calls=2.4,
        touches=8.8,
        skill=0.1,
        discipline=0.85,
        reliability=0.9,
        chinese=0.9,
    ),
    Rep(
        Person("zhou.qiming", "周启明 Zhou Qiming", "rep"),
        book=120,
        leads=185,
        calls=0.65,
        touches=2.0,
        skill=0.0,
        discipline=0.7,
        reliability=0.8,
        chinese=0.95,
    ),
    Rep(
        Person(SMALL_CAPACITY_REP, "陈一诺 Chen Yinuo", "rep", (6, 50, 200)),
        book=110,
        leads=165,
        calls=0.65,
        touches=2.3,
        skill=0.25,
        discipline=0.9,
        reliability=0.95,
        chinese=0.9,
    ),
    Rep(
        Person("marcus.hale", "Marcus Hale", "rep"),
        book=105,
        leads=150,
        calls=0.6,
        touches=1.9,
        skill=-0.1,
        discipline=0.6,
        reliability=0.7,
        chinese=0.15,
    ),
    Rep(
        Person("priya.menon", "Priya Menon", "rep"),
        book=95,
        leads=140,
        calls=0.6,
        touches=1.9,
        skill=0.1,
        discipline=0.8,
        reliability=0.85,
        chinese=0.2,
    ),
    Rep(
        Person(SMALL_BOOK_REP, "Sofia Brandt", "rep"),
        book=30,
        leads=75,
        calls=0.35,
        touches=1.1,
        skill=-0.15,
        discipline=0.65,
        reliability=0.75,
        chinese=0.3,
    ),
)
QUEUED_LEADS = 24

ATTRIBUTES: tuple[dict[str, Any], ...] = (
    {"subject": "customer", "key": "employees", "kind": "number", "label": {"en": "Employees", "zh_hans": "员工人数"}},
    {
        "subject": "customer", "key": "region", "kind": "category", "label": {"en": "Region", "zh_hans": "区域"},
        "categories": ["east", "south", "west", "north", "abroad"],
    },
    {
        "subject": "opportunity", "key": "site_ready", "kind": "boolean",
        "label": {"en": "Site ready for installation", "zh_hans": "现场具备安装条件"},
    },
    {
        "subject": "opportunity", "key": "replaces_brand", "kind": "text",
        "label": {"en": "Replaces which brand", "zh_hans": "替换的品牌"},
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    key: str
    name: str
    code: str
    series: str
    price: int  # CNY
    margin: float
    process: str


PRODUCTS = (
    Product("filler", "灌装线 Filling line F8", "F8", "Lines", 1_450_000, 0.31, "complex_sale"),
    Product("warehouse", "自动仓储 Automatic store S200", "S200", "Lines", 2_600_000, 0.26, "complex_sale"),
    Product("packer", "装箱机 Case packer P3", "P3", "Machines", 420_000, 0.34, "equipment_sale"),
    Product("cartoner", "装盒机 Cartoner K1", "K1", "Machines", 360_000, 0.36, "equipment_sale"),
    Product("inspector", "视觉检测 Inspection camera V2", "V2", "Machines", 180_000, 0.42, "equipment_sale"),
    Product("palletiser", "码垛机器人 Palletising robot R5", "R5", "Machines", 520_000, 0.3, "equipment_sale"),
    Product("spares", "备件包 Spare parts kit", "SP", "Parts", 24_000, 0.48, "cash_and_carry"),
)
PRODUCT_BY_KEY = {product.key: product for product in PRODUCTS}

# A process of the demo's own whose first milestones are reversible: talks about a machine may start again.
EQUIPMENT_SALE = "equipment_sale"
EQUIPMENT_STAGES: tuple[dict[str, Any], ...] = (
    {
        "key": "first_talk", "name": {"en": "First talk", "zh_hans": "初步沟通"},
        "milestone": {"en": "They invite us to look", "zh_hans": "邀请我方到访"},
        "purpose": "Who needs what, and why now.", "irreversible": False,
        "typical_days": 14, "typical_hours": 3, "base_win_rate": 0.6,
    },
    {
        "key": "site_survey", "name": {"en": "Site survey", "zh_hans": "现场勘察"},
        "milestone": {"en": "Survey agreed upon", "zh_hans": "勘察结论确认"},
        "purpose": "Need and pain, seen on the spot.", "irreversible": False, "side": "ours", "skippable": True,
        "typical_days": 14, "typical_hours": 6, "base_win_rate": 0.75, "evidences_class": "B",
    },
    {
        "key": "proposal", "name": {"en": "Proposal", "zh_hans": "方案"},
        "milestone": {"en": "The users choose our solution", "zh_hans": "使用部门认可方案"},
        "purpose": "A solution that the users want.", "irreversible": False,
        "typical_days": 21, "typical_hours": 8, "base_win_rate": 0.7, "evidences_class": "B",
    },
    {
        "key": "quotation", "name": {"en": "Quotation", "zh_hans": "报价"},
        "milestone": {"en": "Quotation given", "zh_hans": "正式报价"},
        "purpose": "The price, said once.", "irreversible": True, "side": "ours",
        "typical_days": 14, "typical_hours": 4, "base_win_rate": 0.85, "evidences_class": "C",
    },
    {
        "key": "sign", "name": {"en": "Sign", "zh_hans": "签约"},
        "milestone": {"en": "Contract signed", "zh_hans": "合同签订"},
        "purpose": "Agree on terms and sign.", "irreversible": True, "wins": True,
        "typical_days": 21, "typical_hours": 6, "base_win_rate": 0.6, "evidences_class": "C",
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Course:
    """What the simulation knows of a process: typical days of each stage, which wins, how far one can go back."""

    days: tuple[float, ...]
    winning: int
    reversible: tuple[bool, ...]


COURSES = {
    template.key: Course(
        tuple(stage.typical_days for stage in template.stages),
        next(place for place, stage in enumerate(template.stages) if stage.wins),
        tuple(not stage.irreversible for stage in template.stages),
    )
    for template in (COMPLEX_SALE, CASH_AND_CARRY)
} | {
    EQUIPMENT_SALE: Course(
        tuple(float(stage["typical_days"]) for stage in EQUIPMENT_STAGES),
        next(place for place, stage in enumerate(EQUIPMENT_STAGES) if stage.get("wins")),
        tuple(not stage["irreversible"] for stage in EQUIPMENT_STAGES),
    )
}


def first_day(today: date) -> date:
    """The year ends with yesterday: what happens today is for whoever looks at it to do."""
    return today - timedelta(days=YEAR_DAYS)


def days_of_year(today: date) -> Iterator[date]:
    for number in range(YEAR_DAYS):
        yield first_day(today) + timedelta(days=number)


def works_on(day: date) -> bool:
    """Monday to Friday, but not on the fixed holidays."""
    holiday = (day.month, day.day) == (1, 1) or (day.month == 5 and day.day <= 3) or (day.month == 10 and day.day <= 7)
    return day.weekday() < 5 and not holiday


def moment(day: date, minute: int) -> datetime:
    """A minute of the working day, counted from 08:30 local time, in UTC."""
    return datetime.combine(day, time(8, 30), LOCAL).astimezone(UTC) + timedelta(minutes=minute)


def local_date(at: datetime) -> date:
    """The day of a moment, where the team is."""
    return at.astimezone(LOCAL).date()
