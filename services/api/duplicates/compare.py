"""How alike two records are: pure functions of what is known of both.

Each thing they have in common is a reason with a weight, the chance that it alone means one and the same. Reasons are
taken as independent: the score is 1 − Π(1 − weight). Of reasons that say the same thing (the names; e-mail and its
domain) only the strongest counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import Final
from uuid import UUID

import phonenumbers
from publicsuffixlist import PublicSuffixList
from rapidfuzz import fuzz

# A pair below POSSIBLE is not told of.
POSSIBLE, LIKELY, CERTAIN = 0.5, 0.7, 0.9
CUSTOMER_WEIGHTS: Final = {
    "same_name": 0.85,
    "same_name_without_legal_form": 0.8,
    "same_name_without_place": 0.65,
    "same_reading": 0.55,
    "similar_name": 0.75,
    "same_phone": 0.7,
    "same_email": 0.75,
    "same_domain": 0.6,
}
CONTACT_WEIGHTS: Final = {
    "same_name": 0.4,
    "same_name_at_customer": 0.85,
    "similar_name_at_customer": 0.65,
    "same_phone": 0.75,
    "same_email": 0.9,
}
# Names less alike than this are two names.
_ALIKE = 0.85
_SEPARATORS = re.compile(r"[/,;、|，；]|或| or ")
_EXTENSION = re.compile(r"(ext|x|转|轉|分机|分機|#).*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a record is compared. `names` as sales.match_names gives them; numbers in E.164; domains registrable."""

    names: tuple[str, str, str]
    reading: str | None = None
    phones: frozenset[str] = frozenset()
    email: str | None = None
    domains: frozenset[str] = frozenset()
    customer_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing two records have in common."""

    code: str
    weight: float


def likelihood(score: float) -> str:
    return "almost_certain" if score >= CERTAIN else "likely" if score >= LIKELY else "possible"


def compare(kind: str, a: Traits, b: Traits) -> tuple[float, list[Reason]]:
    """The score from 0 to 1 and the reasons, the strongest first."""
    reasons = _customers(a, b) if kind == "customer" else _contacts(a, b)
    reasons.sort(key=lambda each: -each.weight)
    return round(1 - prod(1 - each.weight for each in reasons), 4), reasons


def _customers(a: Traits, b: Traits) -> list[Reason]:
    reasons = [*_of(CUSTOMER_WEIGHTS, _name_code(a, b)), *_of(CUSTOMER_WEIGHTS, a.phones & b.phones and "same_phone")]
    if not reasons or reasons[0].code == "same_phone":
        alike = similarity(a.names[1], b.names[1])
        if alike >= _ALIKE:
            reasons.append(Reason("similar_name", round(CUSTOMER_WEIGHTS["similar_name"] * alike, 4)))
        elif a.reading and a.reading == b.reading:
            reasons += _of(CUSTOMER_WEIGHTS, "same_reading")
    if a.email and a.email == b.email:
        return reasons + _of(CUSTOMER_WEIGHTS, "same_email")
    return reasons + _of(CUSTOMER_WEIGHTS, a.domains & b.domains and "same_domain")


def _name_code(a: Traits, b: Traits) -> str:
    """Two names that begin with two places are two firms, however alike the rest is."""
    compact_a, compact_b = [[text.replace(" ", "") for text in each.names] for each in (a, b)]
    if compact_a[0] == compact_b[0]:
        return "same_name"
    if compact_a[1] == compact_b[1]:
        return "same_name_without_legal_form"
    one_without = compact_a[1] == compact_a[2] or compact_b[1] == compact_b[2]
    return "same_name_without_place" if compact_a[2] == compact_b[2] and one_without else ""


def _contacts(a: Traits, b: Traits) -> list[Reason]:
    here = a.customer_id is not None and a.customer_id == b.customer_id
    same = sorted(a.names[0].split()) == sorted(b.names[0].split())
    code = ""
    if same:
        code = "same_name_at_customer" if here else "same_name"
    elif here and similarity(a.names[0], b.names[0]) >= _ALIKE:
        code = "similar_name_at_customer"
    return [
        *_of(CONTACT_WEIGHTS, code),
        *_of(CONTACT_WEIGHTS, a.phones & b.phones and "same_phone"),
        *_of(CONTACT_WEIGHTS, "same_email" if a.email and a.email == b.email else ""),
    ]


def _of(weights: dict[str, float], code: str | frozenset[str]) -> list[Reason]:
    return [Reason(code, weights[code])] if isinstance(code, str) and code else []


def similarity(a: str, b: str) -> float:
    """How alike two names are from 0 to 1, in whatever order their words stand."""
    whole = fuzz.ratio(a.replace(" ", ""), b.replace(" ", ""))
    return max(whole, fuzz.token_sort_ratio(a, b)) / 100


def numbers(text: str | None, region: str | None) -> frozenset[str]:
    """The phone numbers in a text in E.164; one that can't be read as such, as its digits."""
    if not text:
        return frozenset()
    found = (_number(part, region) for part in _SEPARATORS.split(text))
    return frozenset(each for each in found if each)


@lru_cache(maxsize=4096)
def _number(text: str, region: str | None) -> str | None:
    text = _EXTENSION.sub("", text)
    try:
        parsed = phonenumbers.parse(text, region)
        if phonenumbers.is_possible_number(parsed):
            return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    except phonenumbers.NumberParseException:
        # Extensions within a firm, numbers without a country: alike by their digits alone.
        return _digits(text)
    return _digits(text)


def _digits(text: str) -> str | None:
    digits = re.sub(r"\D", "", text)
    return digits if len(digits) >= 5 else None


def registrable(domains: Iterable[str] | None) -> frozenset[str]:
    """What somebody has registered of these hosts: acme.com.cn of shop.acme.com.cn; nothing of com.cn."""
    found = (_suffixes().privatesuffix(each) for each in domains or ())
    return frozenset(each for each in found if each)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


# Where a workspace's currency is no country's, its time zone tells the country.
_BY_ZONE: Final = {
    "Europe/Berlin": "DE", "Europe/Vienna": "AT", "Europe/Paris": "FR", "Europe/Rome": "IT", "Europe/Madrid": "ES",
    "Europe/Lisbon": "PT", "Europe/Amsterdam": "NL", "Europe/Brussels": "BE", "Europe/Luxembourg": "LU",
    "Europe/Dublin": "IE", "Europe/Helsinki": "FI", "Europe/Athens": "GR", "Europe/Bratislava": "SK",
    "Europe/Ljubljana": "SI", "Europe/Tallinn": "EE", "Europe/Riga": "LV", "Europe/Vilnius": "LT",
    "Europe/Zagreb": "HR", "Asia/Nicosia": "CY", "Europe/Malta": "MT", "Asia/Shanghai": "CN",
}  # fmt: skip


def region_of(currency: str, time_zone: str) -> str | None:
    """The country whose numbers need no country code in this workspace: a currency's first letters name it."""
    by_zone = _BY_ZONE.get(time_zone)
    country = currency[:2]
    return by_zone or (country if country in phonenumbers.SUPPORTED_REGIONS else None)
