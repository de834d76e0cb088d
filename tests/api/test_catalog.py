"""The catalog: no code without a label, no label without both languages."""

from __future__ import annotations

import re

import pytest

from services.api.catalog.error_labels import error_labels
from services.api.catalog.service import enums
from services.api.errors import Problem
from shared.catalog.templates import TEMPLATES
from tests.support.caller import Caller

HAN = re.compile(r"[\u4e00-\u9fff]")
# What is the same in both languages.
UNTRANSLATED: set[str] = set()


def test_every_label_has_both_languages() -> None:
    found = enums()
    assert {"contact_levels", "interaction_kinds", "signals", "close_reasons", "bands", "task_kinds"} <= set(found)
    missing = [
        f"{name}.{code}"
        for name, labels in found.items()
        for code, label in labels.items()
        if not label.en.strip() or not HAN.search(label.zh_hans) or HAN.search(label.en)
    ]
    assert set(missing) == UNTRANSLATED


def test_every_template_has_both_languages() -> None:
    labels = [
        label
        for template in TEMPLATES.values()
        for label in (template.name, *(each for stage in template.stages for each in (stage.name, stage.milestone)))
    ]
    assert labels
    assert all(label.en and HAN.search(label.zh_hans) for label in labels)


def test_every_error_code_has_both_languages() -> None:
    labels = error_labels()
    assert set(labels) == set(Problem.registry)
    assert [code for code, label in labels.items() if not HAN.search(label.zh_hans)] == []


@pytest.mark.parametrize(
    ("accept", "language", "label"),
    [
        (None, "en", "Executive"),
        ("zh-CN,en;q=0.5", "zh-Hans", "决策层"),
        ("fr, en;q=0.8, zh;q=0.2", "en", "Executive"),
        ("de", "en", "Executive"),
    ],
)
async def test_labels_come_in_the_language_asked_for(
    admin: Caller, accept: str | None, language: str, label: str
) -> None:
    headers = {"Accept-Language": accept} if accept else {}
    response = await admin.get("/v1/catalog", headers=headers)
    catalog = response.json()
    assert (catalog["language"], response.headers["content-language"]) == (language, language)
    assert {"code": "executive", "label": label} in catalog["enums"]["contact_levels"]
    assert "Accept-Language" in response.headers["vary"]
    assert [template["key"] for template in catalog["templates"]] == ["complex_sale", "cash_and_carry"]
    assert {each["code"]: each["status"] for each in catalog["errors"]}["milestone_irreversible"] == 409
    roles = {each["code"]: each["scopes"] for each in catalog["roles"]}
    assert set(roles["admin"]) == set(catalog["scopes"])
    again = await admin.get("/v1/catalog", headers={**headers, "If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_catalog_needs_a_key_but_no_scope(admin: Caller) -> None:
    assert (await admin.http.get("/v1/catalog")).status_code == 401
    made = await admin.ok("POST", "/v1/api-keys", {"name": "K", "scopes": ["audit:read"]})
    response = await admin.http.get("/v1/catalog", headers={"Authorization": f"Bearer {made['key']}"})
    assert response.status_code == 200
    english, chinese = [await admin.get("/v1/catalog", headers={"Accept-Language": each}) for each in ("en", "zh")]
    assert english.headers["etag"] != chinese.headers["etag"]
