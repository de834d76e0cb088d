"""Examples made from the schemas: what a field gives as its own example, or else what its name and type suggest."""

from __future__ import annotations

from typing import Any

from services.api.openapi.walk import Schema, resolve

ID = "0198c0de-0000-7000-8000-000000000001"
BY_FORMAT = {
    "uuid": ID,
    "date-time": "2026-11-20T08:30:00Z",
    "date": "2027-03-01",
    "decimal": "123.45",
    "binary": "@pipeline.csv",
    "uri": "https://example.com/hooks",
}
BY_NAME = {
    "name": "Northwind Trading",
    "currency": "CNY",
    "email": "wang.fang@example.com",
    "phone": "+86 10 5555 0100",
    "website": "https://northwind.example",
    "time_zone": "Asia/Shanghai",
    "locale": "en",
    "source": "erp",
    "external_source": "erp",
    "external_id": "4711",
    "reason": "The territory changed hands.",
    "key": "complex_sale",
    "en": "Signed",
    "language": "en",
    "last4": "k3Jx",
    "message": "There is no such customer within your reach.",
    "pointer": "/customer_id",
    "code": "unknown_reference",
    "label": "Signed",
    "shift_dates_to": "today",
    "mapping": '{"kind": "customers", "source": "erp", "fields": {"external_id": "id", "name": "name"}}',
}
DEEPEST = 8


class Examples:
    """Makes examples by the schemas of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def add_to(self, operation: dict[str, Any]) -> None:
        """An example for each body an operation takes or gives, and for each parameter of its path."""
        for each in operation.get("parameters", ()):
            if each.get("in") == "path" and "example" not in each:
                each["example"] = self.of(each["schema"], each["name"], written=True)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if "example" not in content and "examples" not in content:
                content["example"] = self.of(content["schema"], written=True)
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if status.startswith("2") and kind == "application/json" and "examples" not in content:
                    content.setdefault("example", self.of(content["schema"]))

    def of(self, schema: Schema, name: str = "", *, written: bool = False, depth: int = 0) -> Any:
        """A value that the schema allows; of what is written only what must be, or has an example of its own."""
        schema = resolve(self._document, schema)
        if schema.get("examples"):
            return schema["examples"][0]
        for fixed in ("example", "default"):
            if fixed in schema:
                return schema[fixed]
        for values in ("enum", "x-extensible-enum"):
            if schema.get(values):
                return schema[values][0]
        options = schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf")
        if options:
            return self.of(options[0], name, written=written, depth=depth)
        kinds = schema.get("type", "object")
        if "null" in kinds and (depth > DEEPEST or self._may_be_unknown(schema, name)):
            return None
        kind = next(each for each in ([kinds] if isinstance(kinds, str) else kinds) if each != "null")
        return self._of_kind(kind, schema, name, written, depth)

    @staticmethod
    def _may_be_unknown(schema: Schema, name: str) -> bool:
        """Whether null says more than an invented value would."""
        return name not in BY_NAME and schema.get("format") not in {"uuid", "date", "decimal"}

    def _of_kind(self, kind: str, schema: Schema, name: str, written: bool, depth: int) -> Any:
        if kind == "object":
            return self._object(schema, written, depth)
        if kind == "array":
            empty = depth > DEEPEST or (written and not schema.get("minItems"))
            return [] if empty else [self.of(schema.get("items", {}), name, written=written, depth=depth + 1)]
        if kind in {"integer", "number"}:
            return _number(kind, schema)
        if kind == "boolean":
            return name != "has_more"
        text = BY_FORMAT.get(schema.get("format", "")) or BY_NAME.get(name) or name.replace("_", " ")
        return text[: schema.get("maxLength")]

    def _object(self, schema: Schema, written: bool, depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made = {}
        for name, each in schema.get("properties", {}).items():
            found = resolve(self._document, each)
            if written and name not in required and not found.get("examples"):
                continue
            made[name] = self.of(each, name, written=written, depth=depth + 1)
        return made or self._at_least_one(schema, written, depth)

    def _at_least_one(self, schema: Schema, written: bool, depth: int) -> dict[str, Any]:
        """A change that requires nothing shows how one field is changed."""
        for name, each in schema.get("properties", {}).items() if written else ():
            if name not in {"clear", "attributes"}:
                return {name: self.of(each, name, written=written, depth=depth + 1)}
        return {}


def _number(kind: str, schema: Schema) -> Any:
    value = 3 if kind == "integer" else 0.4
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    return min(max(value, low), high)
