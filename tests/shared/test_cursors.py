"""Cursors: signed, bound to their list, and read back as they were made."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.errors import InvalidCursor
from services.api.pagination import Cursors, binding_of
from shared.ids import new_id
from shared.tenancy import Principal, Reach

CURSORS = Cursors("a secret of the installation")


@pytest.mark.parametrize(
    ("value", "parse"),
    [
        ("bei jing", str),
        ("", str),
        ("O'Brien\u2028\U0001f600", str),
        (Decimal("-1.5000"), Decimal),
        (datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC), datetime.fromisoformat),
        (date(9999, 12, 31), date.fromisoformat),
        (0.1 + 0.2, float),
    ],
)
def test_a_place_is_read_as_it_was_made(value: Any, parse: Any) -> None:
    row_id = new_id()
    assert CURSORS.read(b"list", CURSORS.make(b"list", value, row_id), parse) == (value, row_id)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_loses_nothing(value: float) -> None:
    assert CURSORS.read(b"", CURSORS.make(b"", value, new_id()), float)[0] == value


def test_another_list_or_another_secret_is_refused() -> None:
    cursor = CURSORS.make(b"list", "x", new_id())
    with pytest.raises(InvalidCursor):
        CURSORS.read(b"another list", cursor, str)
    with pytest.raises(InvalidCursor):
        Cursors("another secret").read(b"list", cursor, str)


def test_no_bit_of_it_can_be_changed() -> None:
    cursor = CURSORS.make(b"list", "x", new_id())
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(raw)):
        changed = raw.copy()
        changed[place] ^= 1
        with pytest.raises(InvalidCursor):
            CURSORS.read(b"list", base64.urlsafe_b64encode(changed).decode().rstrip("="), str)


@given(st.text(max_size=60))
def test_anything_else_is_refused_and_not_fatal(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(b"list", text, str)


def test_a_binding_knows_workspace_member_list_and_filters() -> None:
    def binding(**change: Any) -> bytes:
        given: dict[str, Any] = {"workspace_id": one, "member_id": two, "name": "customer", "shape": {"kind": "x"}}
        given |= change
        who = Principal(given["workspace_id"], given["member_id"], "rep", Reach.OWN, frozenset())
        return binding_of(who, given["name"], given["shape"])

    one, two = uuid4(), uuid4()
    others = [
        binding(workspace_id=uuid4()), binding(member_id=uuid4()), binding(name="contact"), binding(shape={}),
        binding(shape={"kind": "y"}), binding(shape={"kind": "x", "sort": "name"}),
    ]  # fmt: skip
    assert len({binding(), *others}) == 7
    assert binding() == binding(shape={"kind": "x", "limit": 5, "cursor": "abc"})
