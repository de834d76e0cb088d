"""Types of fields that many resources share, with their bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, cast
from unicodedata import combining, normalize
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema
from pypinyin import lazy_pinyin

from shared.catalog.currencies import CURRENCIES
from shared.catalog.labels import Labels

_NUMBER = re.compile(r"[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _no_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_no_control)
]
ShortText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_no_control)
]
LongText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000), AfterValidator(_no_control)
]
ExternalText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_no_control)
]
EmailText = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


# No sale lies outside these days; beyond them a date is a slip of the hand or somebody's "never".
EARLIEST_DAY, LATEST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def _in_range(value: date) -> date:
    if not EARLIEST_DAY <= value <= LATEST_DAY:
        raise ValueError(f"must be between {EARLIEST_DAY} and {LATEST_DAY}; leave it out where it is not known")
    return value


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("the time needs a zone, such as Z")
    _in_range(value.date())
    return value.astimezone(UTC)


def _not_a_number(value: Any) -> Any:
    """Seconds since 1970 are no date of ours, though the parser would take them, also from a query."""
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise ValueError("a date is written as in 2026-11-22, a time as in 2026-11-22T08:30:00Z")
    return value


Instant = Annotated[datetime, BeforeValidator(_not_a_number), AfterValidator(_aware)]
Day = Annotated[date, BeforeValidator(_not_a_number), AfterValidator(_in_range)]


def _uuid_v7(value: UUID) -> UUID:
    if value.version != 7:
        raise ValueError("an id made by the client must be a UUID of version 7")
    return value


ClientId = Annotated[UUID, AfterValidator(_uuid_v7)]


# What Python takes for a number besides (`1_000`, `1e5`, digits of other scripts) is a slip, or a guess.
_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _decimal_from_text(value: Any) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        raise ValueError('an amount is a string, such as "123.45"')
    if isinstance(value, str) and not _PLAIN_DECIMAL.fullmatch(value):
        raise ValueError('an amount is a plain decimal, such as "123.45"')
    return value


NotNegativeAmount = Annotated[
    Decimal,
    BeforeValidator(_decimal_from_text),
    Field(ge=0, max_digits=18, decimal_places=4, allow_inf_nan=False),
    WithJsonSchema({"type": "string", "format": "decimal", "pattern": r"^\d{1,14}(\.\d{1,4})?$"}),
]


def _no_text_or_truth(value: Any) -> Any:
    """`15.0` is an integer of JSON, `"15"` and `true` are none."""
    if isinstance(value, str | bytes | bool):
        raise PydanticKnownError("int_type")
    return value


# Of a core schema: what maps names of fields or tags to schemas, and what holds none.
_BY_NAME = frozenset(("fields", "choices"))
_NOT_SCHEMAS = frozenset(("cls", "config", "default", "default_factory", "expected", "function", "metadata", "ref"))


def _as_json_has_it(schema: Any) -> Any:
    """The schema with numbers and truth values taken as such alone, at any depth; `strict=False` turns it off.

    What JSON has no type for (ids, dates, times, decimals) still comes as text.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(_as_json_has_it(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "lax-or-strict":
        return schema
    if kind in {"bool", "float"}:
        return {**schema, "strict": True}
    if kind == "int":
        whole = core_schema.no_info_before_validator_function(_no_text_or_truth, cast("CoreSchema", schema))
        return core_schema.lax_or_strict_schema(cast("CoreSchema", schema), whole, strict=True)
    found: dict[str, Any] = {}
    for name, each in schema.items():
        if name in _BY_NAME and isinstance(each, dict):
            found[name] = {key: _as_json_has_it(one) for key, one in each.items()}
        else:
            found[name] = each if name in _NOT_SCHEMAS else _as_json_has_it(each)
    return found


class Strict(BaseModel):
    """A body that refuses what it does not know, and text where a number or a truth value is due.

    Of a form or a file, where all is text, it is read with `model_validate(…, strict=False)`.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cast("CoreSchema", _as_json_has_it(handler(source)))


def _iso_4217(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("must be a code of ISO 4217, such as CNY")
    return code


Currency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    AfterValidator(_iso_4217),
    Field(description="ISO 4217 code.", examples=["CNY"]),
]


class Money(Strict):
    """An amount of a currency; the amount is a decimal in a string, so that nothing is rounded on the way."""

    amount: NotNegativeAmount = Field(examples=["123.45"])
    currency: Currency


@dataclass(frozen=True)
class Known:
    """A code of the catalog: refused when unknown; the schema lists the known values and stays open to new ones."""

    labels: Labels

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-extensible-enum": list(self.labels)}

    def __hash__(self) -> int:
        return hash(tuple(self.labels))

    def _check(self, value: str) -> str:
        if value not in self.labels:
            raise ValueError(f"must be one of {', '.join(self.labels)}")
        return value


def sort_key(name: str) -> str:
    """The key that puts names of all scripts in one order: lower case, without accents, Han characters in pinyin."""
    if not name.isascii():
        name = "".join(each for each in normalize("NFKD", name) if not combining(each))
    if name.isascii():
        return name.lower()[:400]
    return " ".join(lazy_pinyin(name)).lower()[:400]
