"""What can be imported, and which fields each kind has: one table, from which parsing, SQL and checks follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Table

from services.api.contacts.resource import CONTACTS as CONTACT_RESOURCE
from services.api.customers.resource import CUSTOMERS as CUSTOMER_RESOURCE
from services.api.errors import FieldError, wrong
from services.api.imports.mapping import Mapping
from services.api.interactions.resource import INTERACTIONS as INTERACTION_RESOURCE
from services.api.opportunities.resource import OPPORTUNITIES as OPPORTUNITY_RESOURCE
from services.api.products.resource import PRODUCTS as PRODUCT_RESOURCE
from services.api.resources import Resource
from shared.catalog import interactions as touches
from shared.catalog import selling
from shared.catalog.labels import Labels


class Type(StrEnum):
    """How a text becomes a value, and the column type it is staged in."""

    NAME = "name"
    SHORT = "short"
    LONG = "long"
    EMAIL = "email"
    CODE = "code"
    AMOUNT = "amount"
    SHARE = "share"
    CURRENCY = "currency"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DAY = "day"
    INSTANT = "instant"


STAGED: dict[Type, str] = {
    Type.AMOUNT: "numeric(18,4)",
    Type.SHARE: "float8",
    Type.INTEGER: "int4",
    Type.BOOLEAN: "boolean",
    Type.DAY: "date",
    Type.INSTANT: "timestamptz",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field that a mapping may fill; `column` where the table calls it otherwise."""

    type: Type
    required: bool = False
    codes: Labels | None = None
    column: str = ""
    # Taken where a required column has no value; None leaves the column empty.
    otherwise: Any = None
    range: tuple[int, int] | None = None


def _code(codes: Labels, *, required: bool = False, otherwise: str | None = None) -> Field:
    return Field(Type.CODE, required, codes, otherwise=otherwise)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of row, and how the api shows it: events tell of rows in the same way."""

    resource: Resource
    fields: dict[str, Field]
    # A column and the value of it with which more of the row is personal.
    guarded: tuple[str, str] | None = None
    sections: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    # Columns filled from references rather than from fields: ids of other rows.
    references: tuple[str, ...] = ()
    # Which of these ids, changed on a row that exists, would move it: refused.
    fixed: tuple[str, ...] = ()
    has_sort_key: bool = True
    has_attributes: bool = False
    money: tuple[str, ...] = ()
    scopes: tuple[str, ...] = field(default=())
    # What its rows are called where that is not the table's name.
    called: str = ""

    @property
    def subject(self) -> str:
        """What it is called in events and marks."""
        return self.resource.name

    @property
    def table(self) -> Table:
        return self.resource.table

    @property
    def name(self) -> str:
        return self.called or str(self.table.name)

    def hidden(self, *, guarded: bool) -> frozenset[str]:
        """Columns whose values stay out of events and audit."""
        return _hidden(self, guarded)

    @property
    def columns(self) -> dict[str, str]:
        """Field name to column name."""
        return {name: given.column or name for name, given in self.fields.items()}


@lru_cache(maxsize=32)
def _hidden(kind: Kind, guarded: bool) -> frozenset[str]:
    column, value = kind.guarded or ("", "")
    return frozenset(kind.resource.personal({column: value if guarded else ""}))


_INSTANT = Field(Type.INSTANT)

OPPORTUNITIES = Kind(
    OPPORTUNITY_RESOURCE,
    {
        "name": Field(Type.NAME, required=True),
        "amount": Field(Type.AMOUNT),
        "currency": Field(Type.CURRENCY),
        "margin_rate": Field(Type.SHARE),
        "cost_to_deliver": Field(Type.AMOUNT),
        "delivery_risk": Field(Type.SHARE),
        "payment_risk": Field(Type.SHARE),
        "budget": Field(Type.AMOUNT, column="budget_amount"),
        "budget_status": _code(selling.BUDGET_STATUSES),
        "purchase_date": Field(Type.DAY),
        "purchase_date_firmness": _code(selling.DATE_FIRMNESS),
        "fit_score": Field(Type.SHARE),
        "rival_fit_score": Field(Type.SHARE),
        "need": Field(Type.LONG),
        "pain": Field(Type.LONG),
        "interest": _code(selling.INTEREST_LEVELS),
        "source": Field(Type.SHORT),
        "notes": Field(Type.LONG),
        "occurred_at": _INSTANT,
    },
    guarded=("status", "cancelled"),
    sections=frozenset(("customer", "owner", "product", "process", "stage", "attributes")),
    needs=frozenset(("customer", "process")),
    references=("customer_id", "owner_id", "product_id"),
    fixed=("customer_id",),
    has_attributes=True,
    money=("amount", "cost_to_deliver", "budget_amount"),
    scopes=("opportunities:write",),
)
CUSTOMER_KIND = Kind(
    CUSTOMER_RESOURCE,
    {
        "name": Field(Type.NAME, required=True),
        "kind": _code(selling.CUSTOMER_KINDS, otherwise="organisation"),
        "phone": Field(Type.SHORT),
        "email": Field(Type.EMAIL),
        "website": Field(Type.SHORT),
        "address": Field(Type.SHORT),
        "industry": Field(Type.SHORT),
        "source": Field(Type.SHORT),
        "tier": _code(selling.TIERS),
        "notes": Field(Type.LONG),
        "occurred_at": _INSTANT,
    },
    guarded=("kind", "household"),
    sections=frozenset(("owner", "attributes")),
    references=("owner_id",),
    has_attributes=True,
    scopes=("customers:write",),
)
CONTACTS = Kind(
    CONTACT_RESOURCE,
    {
        "name": Field(Type.NAME, required=True),
        "title": Field(Type.SHORT),
        "function": _code(selling.CONTACT_FUNCTIONS),
        "level": _code(selling.CONTACT_LEVELS),
        "personality": _code(selling.PERSONALITIES),
        "is_coach": Field(Type.BOOLEAN, otherwise=False),
        "is_external": Field(Type.BOOLEAN, otherwise=False),
        "phone": Field(Type.SHORT),
        "email": Field(Type.EMAIL),
        "birthday": Field(Type.DAY),
        "notes": Field(Type.LONG),
        "occurred_at": _INSTANT,
    },
    sections=frozenset(("customer",)),
    needs=frozenset(("customer",)),
    references=("customer_id",),
    fixed=("customer_id",),
    scopes=("contacts:write",),
)
PRODUCTS = Kind(
    PRODUCT_RESOURCE,
    {
        "name": Field(Type.NAME, required=True),
        "code": Field(Type.SHORT),
        "series": Field(Type.SHORT),
        "list_price": Field(Type.AMOUNT),
        "currency": Field(Type.CURRENCY),
        "margin_rate": Field(Type.SHARE),
        "active": Field(Type.BOOLEAN, otherwise=True),
        "occurred_at": _INSTANT,
    },
    has_sort_key=False,
    money=("list_price",),
    scopes=("products:write",),
)
INTERACTIONS = Kind(
    INTERACTION_RESOURCE,
    {
        "kind": _code(touches.INTERACTION_KINDS, required=True),
        "occurred_at": Field(Type.INSTANT, required=True),
        "direction": _code(touches.DIRECTIONS, otherwise="two_way"),
        "purpose": Field(Type.SHORT),
        "purpose_reached": Field(Type.BOOLEAN),
        "summary": Field(Type.LONG),
        "place": Field(Type.SHORT),
        "setting_quality": _code(touches.SETTING_QUALITIES),
        "minutes": Field(Type.INTEGER, range=(0, 14_400)),
        "cost": Field(Type.AMOUNT),
        "currency": Field(Type.CURRENCY),
        "confidence": Field(Type.SHARE),
    },
    sections=frozenset(("customer", "owner", "opportunity", "contacts")),
    needs=frozenset(("customer",)),
    references=("customer_id", "member_id", "opportunity_id"),
    fixed=("customer_id",),
    has_sort_key=False,
    money=("cost",),
    scopes=("interactions:write",),
)
# Rows of what happened to opportunities that are there: they change these, and are shown as these.
TRANSITIONS = Kind(
    OPPORTUNITY_RESOURCE,
    {
        "action": _code(selling.ACTIONS, required=True),
        "stage_key": Field(Type.NAME),
        "occurred_at": Field(Type.INSTANT, required=True),
        "reason": Field(Type.SHORT),
        "note": Field(Type.LONG),
    },
    called="transitions",
    sections=frozenset(("opportunity",)),
    needs=frozenset(("opportunity",)),
    scopes=("opportunities:write",),
)
KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (OPPORTUNITIES, CUSTOMER_KIND, CONTACTS, PRODUCTS, INTERACTIONS, TRANSITIONS)
}
_SECTIONS = ("customer", "owner", "product", "opportunity", "contacts", "process", "stage", "attributes")


def check_mapping(mapping: Mapping) -> list[FieldError]:
    """What is wrong with a mapping beyond its shape: fields and sections that its kind has not, or lacks."""
    kind = KINDS[mapping.kind]
    errors = [
        wrong(f"/mapping/fields/{name}", "unknown_field", f"{mapping.kind} have no field {name}.")
        for name in mapping.fields
        if name not in kind.fields and name != "external_id"
    ]
    needed = ["external_id", *(name for name, each in kind.fields.items() if each.required)]
    errors += [
        wrong(f"/mapping/fields/{name}", "required", f"Every row of {mapping.kind} needs {name}.")
        for name in needed
        if name not in mapping.fields
    ]
    for section in _SECTIONS:
        given = getattr(mapping, section)
        if given and section not in kind.sections:
            errors.append(wrong(f"/mapping/{section}", "unknown_field", f"{mapping.kind} have no {section}."))
        if not given and section in kind.needs:
            errors.append(wrong(f"/mapping/{section}", "required", f"{mapping.kind} need {section}."))
    if mapping.duplicates != "keep" and mapping.kind not in {"customers", "contacts"}:
        errors.append(wrong("/mapping/duplicates", "unknown_field", f"{mapping.kind} are not compared."))
    if kind is TRANSITIONS and mapping.opportunity is not None and mapping.opportunity.missing != "refuse":
        words = "What happened happened to an opportunity: a row that names none is refused."
        errors.append(wrong("/mapping/opportunity/missing", "invalid_value", words))
    return errors + _check_stages(mapping)


def needed_scopes(mapping: Mapping) -> set[str]:
    """What a member must be allowed to do for all that this mapping may write."""
    needed = {"imports:write", *KINDS[mapping.kind].scopes}
    for section, scope in (("customer", "customers:write"), ("owner", "members:write"), ("product", "products:write")):
        reference = getattr(mapping, section)
        if reference is not None and reference.missing == "create":
            needed.add(scope)
    if mapping.process is not None and (mapping.process.stages or mapping.process.template):
        needed.add("processes:write")
    return needed


def _check_stages(mapping: Mapping) -> list[FieldError]:
    """Stages that the mapping's own process does not have; one named by key alone is looked at when the rows are."""
    if mapping.stage is None or mapping.process is None or mapping.process.stages is None:
        return []
    keys = {stage.key for stage in mapping.process.stages}
    places = [(f"/mapping/stage/values/{value}/stage", each.stage) for value, each in mapping.stage.values.items()]
    places += [(f"/mapping/stage/passed_at/{key}", key) for key in mapping.stage.passed_at]
    return [
        wrong(place, "unknown_reference", f"The process has no stage {key}.")
        for place, key in places
        if key is not None and key not in keys
    ]
