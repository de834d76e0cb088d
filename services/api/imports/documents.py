"""Reading a mapping document: JSON or YAML text to a checked `Mapping`."""

from __future__ import annotations

from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from services.api.errors import FieldError, Invalid, invalid
from services.api.imports.kinds import check_mapping
from services.api.imports.mapping import Mapping

MOST_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """YAML without anchors: a few lines of them could unfold into gigabytes. Dates stay texts."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_mapping(text: bytes | str) -> Mapping:
    """The mapping in `text` (JSON or YAML); raises Invalid naming every wrong place as `/mapping/…`."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MOST_BYTES:
        raise invalid("/mapping", "too_long", f"The mapping has more than {MOST_BYTES} bytes.")
    return check_document(_document(raw))


def check_document(document: Any) -> Mapping:
    """A checked mapping; raises Invalid naming every wrong place as `/mapping/…`."""
    if not isinstance(document, dict):
        raise invalid("/mapping", "invalid_mapping", "The mapping must be an object: kind, source, fields and so on.")
    try:
        mapping = Mapping.model_validate(document)
    except ValidationError as error:
        errors = [
            FieldError(
                pointer=_pointer(item["loc"]),
                code="unknown_field" if item["type"] == "extra_forbidden" else item["type"],
                message="This is not known here." if item["type"] == "extra_forbidden" else item["msg"],
            )
            for item in error.errors()
        ]
        raise Invalid(f"The mapping is wrong at {errors[0].pointer}: {errors[0].message}", errors=errors) from error
    errors = check_mapping(mapping)
    if errors:
        raise Invalid(f"The mapping is wrong at {errors[0].pointer}: {errors[0].message}", errors=errors)
    return mapping


def _document(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as json_error:
        if raw.lstrip()[:1] in {b"{", b"["}:
            raise invalid("/mapping", "malformed", f"The mapping is not valid JSON: {json_error}.") from json_error
    try:
        return yaml.load(raw, _Loader)  # noqa: S506 - a safe loader, and stricter
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        words = " ".join(str(error).split())[:300]
        raise invalid("/mapping", "malformed", f"The mapping is not valid YAML: {words}") from error


def _pointer(place: tuple[Any, ...]) -> str:
    """`('fields', 'name', 'column')` as `/mapping/fields/name/column`; pydantic's names of union members left out."""
    parts = [str(part) for part in place if part != "[key]" and "function-" not in str(part)]
    return "/mapping" + "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
