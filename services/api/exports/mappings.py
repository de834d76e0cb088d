"""The mapping with which an import takes an exported file back: into another workspace, or into this one again.

Records are known by the id they have here, under the source `sixteen`; so customers, contacts and deals of several
files find one another. Files are taken back in this order: products, customers, contacts, opportunities, interactions;
transitions in place of the passages that come with opportunities, where these are taken without their `stage`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.api.imports.kinds import KINDS as IMPORTED
from shared.catalog.selling import CLOSE_REASONS
from shared.db import Row

SOURCE = "sixteen"
# Taken from a file, these would say something else than the record's own.
_LEFT_OUT = frozenset(("external_id",))


def mapping_for(kind: str, format_: str, names: Iterable[str], process: Row | None) -> dict[str, Any] | None:
    """The mapping of a file with these columns; None where the kind can't be imported.

    `process` has the key, and the stages' keys in order as `stages`, of the one process whose deals are taken back.
    """
    target = IMPORTED.get(kind)
    columns = set(names)
    if target is None or (kind == "opportunities" and process is None):
        return None
    fields: dict[str, Any] = {"external_id": "id"}
    for name, field in target.fields.items():
        column = name if name in columns else field.column
        if column in columns and name not in _LEFT_OUT:
            fields[name] = column
    mapping: dict[str, Any] = {
        "kind": kind,
        "source": SOURCE,
        "historical": True,
        "time_zone": "UTC",
        "file": {"format": format_, "formula_quotes": format_ != "ndjson"},
        "fields": fields,
    }
    attributes = {name.removeprefix("attributes."): name for name in columns if name.startswith("attributes.")}
    if attributes:
        mapping["attributes"] = dict(sorted(attributes.items()))
    if "customer_id" in columns:
        mapping["customer"] = _reference("customer", columns)
    if "owner" in target.sections and not columns.isdisjoint(("owner_id", "member_id")):
        base = "owner" if "owner_id" in columns else "member"
        named = {what: f"{base}_{what}" for what in ("email", "name") if f"{base}_{what}" in columns}
        if named:
            mapping["owner"] = {**named, "missing": "leave_empty"}
    if "product_id" in columns:
        mapping["product"] = _reference("product", columns)
    if kind == "interactions":
        mapping["opportunity"] = {"external_id": "opportunity_id", "missing": "leave_empty"}
        mapping["contacts"] = {"external_ids": "contact_ids", "missing": "leave_out"}
    if kind == "transitions":
        mapping["opportunity"] = {"external_id": "opportunity_id"}
    if kind == "opportunities" and process is not None:
        mapping["process"] = {"key": process["key"]}
        mapping["stage"] = _stage_of(process["stages"], columns)
    return mapping


def _reference(base: str, columns: set[str]) -> dict[str, Any]:
    """By id and name; what a file gives no name to can't be made from it, and must be there."""
    if f"{base}_name" not in columns:
        return {"external_id": f"{base}_id", "missing": "refuse"}
    return {"external_id": f"{base}_id", "name": f"{base}_name", "missing": "create"}


def _stage_of(stages: list[str], columns: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {stage: {"stage": stage} for stage in stages}
    values["won"] = {"won": True}
    for reason in CLOSE_REASONS:
        for stage in stages:
            values[f"lost/{reason}/{stage}"] = {"stage": stage, "lost": reason}
            values[f"abandoned/{reason}/{stage}"] = {"stage": stage, "abandoned": reason}
    return {
        "value": "standing",
        "values": values,
        "passed_at": {stage: f"passed_at.{stage}" for stage in stages if f"passed_at.{stage}" in columns},
        "closed_at": "closed_at",
    }
