"""Names of invented buyers and persons, in Chinese and English, and addresses that reach nobody.

Companies are put together from places that do not exist, a made-up mark and a trade. Telephone numbers are of ranges
kept for fiction or never given to subscribers, e-mail addresses of domains reserved for examples (RFC 2606).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = words(
    "伟 芳 娜 敏 静 磊 洋 艳 勇 军 杰 娟 涛 超 明 霞 平 刚 桂英 建国 志强 海燕 晓东 雨桐 子涵 浩然 思远"
    " 嘉怡 文博 佳琪 俊杰 梓萱 天宇 若曦 明轩 诗雨 国栋 秀兰 立新 春梅 永康 慧敏 向阳 玉兰 振华 丽华 承志"
)
FIRST = words(
    "Alice Bernard Clara Daniel Edith Felix Grace Henry Iris Julian Karen Lewis Maya Nathan Olive Peter Ruth Simon"
    " Tessa Victor Wendy Adrian Bella Colin Dora Elliot Fiona Gareth Helen Ivan Judith Kieran Laura Miles Nora Owen"
)
LAST = words(
    "Ashdown Barlow Crofton Denholm Everard Farley Granger Holloway Inchbald Jessop Kirkby Langford Merrow Norcott"
    " Oakden Penrose Quayle Redfern Selwyn Thackray Underhay Varley Wetherby Yarrow Aldous Birtles Coombes Drayton"
)
# Towns that are on no map.
PLACES_ZH = words(
    "岚汀 澄原 碧砚 霁川 鹿屿 松霭 云砚 白汀 青岬 望砂 沐川湾 梧岭 雁浦 星渚 兰屿 枫渡 玉潭口 柏丘 棠溪坞"
)
PLACES_EN = words(
    "Thornmere Brackenford Eastholm Wyndlow Marlcombe Graywater Ashbourne-under-Fell Coldharrow Pellstead Larkhythe"
    " Norwick Sallowby Tarnbridge Underwold Highmarsh Stoneferry-on-Leam"
)
MARKS_ZH = words(
    "启衡 瑞砚 恒岳 捷澜 盛棠 诚屿 宏砺 泰禾川 佳渡 新霁 明筑 华榆 远汀 博穗 金沐 正樾 嘉泓 卓澄 安槿 锐岑"
)
MARKS_EN = words(
    "Halden Corvane Tressel Ostrey Bellamere Kestrin Quillon Varrick Ludmoor Penhallick Rookhope Silvane Tamsin"
    " Wexcombe Zelland Marrowby"
)
SECTIONS_ZH = words("总部 一厂 二厂 南区 北区 新材料事业部")
SECTIONS_EN = ("Head Office", "Works No. 1", "Works No. 2", "South", "North", "New Products")


@dataclass(frozen=True, slots=True)
class Trade:
    """A line of business: what its buyers need and what hurts them, in both languages."""

    code: str
    zh: str
    en: str
    needs: tuple[tuple[str, str], ...]
    pains: tuple[tuple[str, str], ...]


TRADES = (
    Trade(
        "food", "食品", "Foods",
        (
            ("新增一条灌装线", "One more filling line"),
            ("包装速度提高到每分钟120袋", "Packing at 120 bags a minute"),
        ),
        (
            ("旺季断货", "Runs out of stock in the season"),
            ("人工装箱出错多", "Packing by hand makes mistakes"),
        ),
    ),
    Trade(
        "pharmacy", "制药", "Pharmaceuticals",
        (
            ("符合新规范的追溯系统", "Tracing that meets the new rules"),
            ("洁净室内的装盒机", "A cartoner for the clean room"),
        ),
        (
            ("上次审计有三项不符合", "Three findings in the last audit"),
            ("换批清洗要六小时", "A change of batch costs six hours"),
        ),
    ),
    Trade(
        "electronics", "电子", "Electronics",
        (
            ("视觉检测替代人工目检", "Cameras instead of eyes for inspection"),
            ("柔性组装单元", "A flexible assembly cell"),
        ),
        (
            ("客诉里一半是漏检", "Half of all complaints are missed faults"),
            ("招不到夜班工人", "Nobody wants the night shift"),
        ),
    ),
    Trade(
        "building", "建材", "Building Materials",
        (
            ("自动码垛", "Automatic palletising"),
            ("窑尾除尘改造", "New dust collection at the kiln"),
        ),
        (
            ("搬运工伤", "Injuries from lifting"),
            ("环保限产", "Output limited for emissions"),
        ),
    ),
    Trade(
        "furniture", "家居", "Furniture",
        (
            ("开料优化和封边线", "Cutting and edge banding in one line"),
            ("成品仓自动化", "An automatic warehouse"),
        ),
        (
            ("板材浪费百分之十八", "Eighteen per cent of the board is waste"),
            ("交期总是拖", "Deliveries are always late"),
        ),
    ),
    Trade(
        "logistics", "物流", "Logistics",
        (
            ("分拣能力翻倍", "Twice the sorting capacity"),
            ("老库改造不停工", "A rebuild without stopping the old store"),
        ),
        (
            ("大促期间爆仓", "The store overflows at every sale"),
            ("错分率千分之四", "Four parcels in a thousand go astray"),
        ),
    ),
    Trade(
        "chemicals", "化工", "Chemicals",
        (
            ("防爆灌装", "Filling in an explosive zone"),
            ("远程监测泵组", "Pumps watched from afar"),
        ),
        (
            ("去年停产两次", "Two stoppages last year"),
            ("备件等三个月", "Spare parts take three months"),
        ),
    ),
)  # fmt: skip
TITLES = {
    "using": (("车间主任", "Shop floor manager"), ("班组长", "Shift leader")),
    "technical": (("设备工程师", "Equipment engineer"), ("技术总监", "Technical director")),
    "purchasing": (("采购主管", "Head of purchasing"), ("采购专员", "Buyer")),
    "finance": (("财务经理", "Finance manager"), ("成本会计", "Cost accountant")),
    "management": (("总经理", "General manager"), ("厂长", "Plant director")),
}


class Names:
    """Draws names without ever giving two buyers the same."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._taken: set[str] = set()
        self._mobile = 0

    def company(self, trade: Trade, *, chinese: bool) -> str:
        while True:
            name = self._company(trade, chinese=chinese)
            if name not in self._taken:
                self._taken.add(name)
                return name

    def _company(self, trade: Trade, *, chinese: bool) -> str:
        chance = self._chance
        if chinese:
            form = chance.choice(("有限公司", "有限公司", "股份有限公司", "集团"))
            section = chance.choice(SECTIONS_ZH) if chance.random() < 0.15 else ""
            return f"{chance.choice(PLACES_ZH)}{chance.choice(MARKS_ZH)}{trade.zh}{form}{section}"
        form = chance.choice(("Ltd", "Ltd", "Works", "Group"))
        section = chance.choice(SECTIONS_EN) if chance.random() < 0.15 else ""
        mark = f"{chance.choice(MARKS_EN)} {trade.en} {form}"
        return f"{mark}, {chance.choice(PLACES_EN)}{f' ({section})' if section else ''}"

    def household(self, *, chinese: bool) -> str:
        """A family that buys for itself."""
        while True:
            place = self._chance.choice(PLACES_ZH if chinese else PLACES_EN)
            number = self._chance.randrange(1, 400)
            name = (
                f"{self._chance.choice(FAMILY)}家（{place}{number}号）"
                if chinese
                else f"The {self._chance.choice(LAST)} family, {number} {place} Lane"
            )
            if name not in self._taken:
                self._taken.add(name)
                return name

    def person(self, *, chinese: bool) -> str:
        if chinese:
            return self._chance.choice(FAMILY) + self._chance.choice(GIVEN)
        return f"{self._chance.choice(FIRST)} {self._chance.choice(LAST)}"

    def phone(self, *, chinese: bool) -> str:
        """A number that rings nowhere: 100… is given to no subscriber, 01632 960… is kept for drama."""
        self._mobile += 1
        if chinese:
            return f"+86 100 {self._mobile // 10_000:04d} {self._mobile % 10_000:04d}"
        return f"+44 1632 960{self._mobile % 1_000:03d}"

    def address(self, *, chinese: bool) -> str:
        number = self._chance.randrange(1, 300)
        if chinese:
            return f"{self._chance.choice(PLACES_ZH)}市工业路{number}号"
        return f"{number} Foundry Road, {self._chance.choice(PLACES_EN)}"


def email(number: int, role: str = "info") -> str:
    """An address at a domain reserved for examples."""
    return f"{role}@buyer{number:04d}.example.com"
