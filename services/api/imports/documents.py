"""Reading a mapping document: JSON or YAML text to a checked `Mapping`."""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from services.api.errors import FieldError, Invalid, invalid
from services.api.imports.kinds import check_mapping
from services.api.imports.mapping import DATE_FORMAT, Mapping
from services.api.imports.readers import cut
from services.api.wire import nul_within

MOST_BYTES = 1_000_000
MOST_ERRORS = 100
# Of a name in a pointer, and of words that may quote the document.
_LONGEST_NAME, _LONGEST_WORDS = 200, 500
_OBJECT = "must be an object: names with their values"
_WORDS = {
    "missing": "is missing",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}
# By how the validator's name of the error begins.
_EXPECTED = {
    "string_type": "a text",
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "date_": "a date such as 2026-01-31",
    "uuid_": "a UUID",
}
_FORMS = {
    r"^[a-z][a-z0-9_]{0,62}$": "must be a key such as need_criteria: small letters, digits and _, at most 63",
    DATE_FORMAT: "must be a format of dates such as %d.%m.%Y",
}
_LENGTHS = {"too_short": ("min_length", "at least"), "too_long": ("max_length", "at most")}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


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
        errors = _told(document, error)
        raise Invalid(f"The mapping is wrong at {errors[0].pointer}: {errors[0].message}", errors=errors) from error
    problem = nul_within(mapping.model_dump(mode="json"), "/mapping")
    if problem is not None:
        raise problem
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


def _told(document: dict[str, Any], error: ValidationError) -> list[FieldError]:
    """One error for each wrong place; what the alternatives of one place expect is told together."""
    places: dict[str, list[Any]] = {}
    for item in error.errors():
        places.setdefault(_pointer(document, item["loc"], missing=item["type"] == "missing"), []).append(item)
    return [_field_error(pointer, items) for pointer, items in islice(places.items(), MOST_ERRORS)]


def _field_error(pointer: str, items: list[Any]) -> FieldError:
    first = items[0]
    if first["type"] == "extra_forbidden":
        return FieldError(pointer=pointer, code="unknown_field", message="This is not known here.")
    code = first["type"] if len(items) == 1 else "invalid_value"
    words = list(dict.fromkeys(_words(item) for item in items))
    if len(words) > 1:
        words = [each.removeprefix("must be ") for each in words]
        words = [f"must be {', '.join(words[:-1])} or {words[-1]}"]
    return FieldError(pointer=pointer, code=code, message=f"This {cut(words[0], _LONGEST_WORDS)}.")


def _words(item: Any) -> str:
    """What is wrong, to stand after “This”."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    for start, words in _EXPECTED.items():
        if kind.startswith(start):
            return f"must be {words}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace('True', 'true')}"
    if kind == "string_pattern_mismatch":
        return _FORMS.get(context["pattern"], f"must have the form {context['pattern']}")
    for suffix, (limit, words) in _LENGTHS.items():
        if kind.endswith(suffix) and limit in context:
            one, many = ("character", "characters") if kind.startswith("string") else ("entry", "entries")
            return f"must have {words} {context[limit]} {one if context[limit] == 1 else many}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]}"
    plain = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "must").rstrip(".")
    return plain if plain.startswith(("must ", "is ")) else f"is wrong: {plain}"


def _pointer(document: Any, place: tuple[Any, ...], *, missing: bool) -> str:
    """`('fields', 'name', 'column')` as `/mapping/fields/name/column`.

    Only what stands in the document belongs to the pointer: a place may also name the alternative that was tried.
    """
    parts: list[Any] = []
    here = document
    for part in place:
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and part in range(len(here))):
            parts.append(part)
            here = here[part]
    if missing and place:
        parts.append(place[-1])
    return "/mapping" + "".join(
        f"/{cut(str(part), _LONGEST_NAME).replace('~', '~0').replace('/', '~1')}" for part in parts
    )
