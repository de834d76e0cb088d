"""The language of an answer follows Accept-Language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.labels import LANGUAGES, Label, negotiate


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("en", "en"),
        ("zh", "zh-Hans"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh-Hans", "zh-Hans"),
        ("en-GB,zh;q=0.9", "en"),
        ("en;q=0.3, zh;q=0.7", "zh-Hans"),
        ("fr, zh;q=0.5", "zh-Hans"),
        ("fr, de", "en"),
        ("zh;q=nonsense, en", "en"),
        ("*", "en"),
        ("zh;q=0", "en"),
        ("en;q=0, zh;q=0.1", "zh-Hans"),
    ],
)
def test_the_first_language_spoken_is_taken(header: str | None, language: str) -> None:
    assert negotiate(header) == language


@given(st.text(max_size=200))
def test_any_header_gives_a_language(header: str) -> None:
    assert negotiate(header) in LANGUAGES


def test_a_label_speaks_both() -> None:
    label = Label("Won", "赢单")
    assert [label.in_language(language) for language in LANGUAGES] == ["Won", "赢单"]
