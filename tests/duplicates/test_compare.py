"""The comparison by itself: scores are what the reasons say, the same from both sides, and within 0 and 1."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.duplicates.compare import (
    CONTACT_WEIGHTS,
    CUSTOMER_WEIGHTS,
    Traits,
    compare,
    likelihood,
    numbers,
    region_of,
    registrable,
    similarity,
)
from shared.catalog.duplicates import DUPLICATE_LIKELIHOODS, DUPLICATE_REASONS

_TEXTS = st.sampled_from(["acme", "acme ltd", "apex", "北方重工", "上海北方重工", ""])
_SOME = st.frozensets(st.sampled_from(["+8613800138000", "+16505551234"]), max_size=2)
_CUSTOMER = st.sampled_from([None, UUID(int=1), UUID(int=2)])
TRAITS = st.builds(
    Traits,
    names=st.tuples(_TEXTS, _TEXTS, _TEXTS),
    reading=st.sampled_from([None, "beifang"]),
    phones=_SOME,
    email=st.sampled_from([None, "a@acme.example"]),
    domains=st.frozensets(st.sampled_from(["acme.example", "apex.example"]), max_size=2),
    customer_id=_CUSTOMER,
)


@given(a=TRAITS, b=TRAITS, kind=st.sampled_from(["customer", "contact"]))
def test_a_score_is_what_its_reasons_say(a: Traits, b: Traits, kind: str) -> None:
    score, reasons = compare(kind, a, b)
    assert (score, reasons) == compare(kind, b, a)
    assert 0 <= score < 1
    assert (score == 0) == (reasons == [])
    assert all(score >= each.weight - 1e-4 for each in reasons)
    assert [each.weight for each in reasons] == sorted((each.weight for each in reasons), reverse=True)
    assert len({each.code for each in reasons}) == len(reasons)


def test_every_reason_has_words_and_every_word_a_reason() -> None:
    assert set(CUSTOMER_WEIGHTS) | set(CONTACT_WEIGHTS) == set(DUPLICATE_REASONS)
    assert {likelihood(score) for score in (0.5, 0.69, 0.7, 0.89, 0.9, 0.99)} == set(DUPLICATE_LIKELIHOODS)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("010-65551234", "CN", {"+861065551234"}),
        ("+86 138 0013 8000", None, {"+8613800138000"}),
        ("138 0013 8000 / 139-0013-9000", "CN", {"+8613800138000", "+8613900139000"}),
        ("(650) 555-1234 ext. 12", "US", {"+16505551234"}),
        ("030 901820", "DE", {"+4930901820"}),
        ("65551234", None, {"65551234"}),
        ("0", "CN", set()),
        ("call the porter", "CN", set()),
        (None, "CN", set()),
    ],
)
def test_numbers(text: str | None, region: str | None, expected: set[str]) -> None:
    assert numbers(text, region) == expected


def test_registrable_domains() -> None:
    assert registrable(["shop.acme.com.cn", "acme.co.uk", "com.cn", "a.b.github.io"]) == {
        "acme.com.cn",
        "acme.co.uk",
        "b.github.io",
    }
    assert registrable(None) == frozenset()


@pytest.mark.parametrize(
    ("currency", "zone", "region"),
    [
        ("CNY", "Asia/Shanghai", "CN"),
        ("USD", "America/New_York", "US"),
        ("EUR", "Europe/Berlin", "DE"),
        ("EUR", "UTC", None),
        ("GBP", "UTC", "GB"),
        ("XAU", "UTC", None),
    ],
)
def test_the_region_of_a_workspace(currency: str, zone: str, region: str | None) -> None:
    assert region_of(currency, zone) == region


def test_likeness_is_of_words_in_any_order() -> None:
    assert similarity("northwind trading", "trading northwind") == 1
    assert similarity("北方重工", "北方科技") == 0.5
