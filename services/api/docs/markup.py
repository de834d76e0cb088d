"""Small pieces of HTML: the few marks our own texts use, JSON in colours, types with links to their schemas."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_STRONG = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`([^`]+)`")
_TOKEN = re.compile(r"(&quot;(?:\\.|(?!&quot;).)*?&quot;)(\s*:)?|\b(true|false|null|-?\d+(?:\.\d+)?)\b")


def inline(text: str) -> str:
    """A line of text with its `code` and **strong** parts."""
    return _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<strong>\1</strong>", escape(text, quote=False)))


def prose(text: str) -> str:
    """Paragraphs and lists."""
    made = []
    for block in (each for each in text.split("\n\n") if each.strip()):
        lines = block.strip().split("\n")
        if all(line.startswith("- ") for line in lines):
            made.append("<ul>" + "".join(f"<li>{inline(line[2:])}</li>" for line in lines) + "</ul>")
        else:
            made.append(f"<p>{inline(' '.join(lines))}</p>")
    return "".join(made)


def coloured(value: Any) -> str:
    """JSON as it is read: names, texts and other values told apart."""

    def mark(found: re.Match[str]) -> str:
        text, colon, other = found.groups()
        if other is not None:
            return f"<i>{other}</i>"
        return f"<b>{text}</b>{colon}" if colon else f"<u>{text}</u>"

    return _TOKEN.sub(mark, escape(json.dumps(value, indent=2, ensure_ascii=False)))


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words, such as `list of Customer`."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#schema-{name}">{name}</a>'
    for union in ("oneOf", "anyOf", "allOf"):
        if union in schema:
            return " or ".join(type_of(each) for each in schema[union])
    kinds = schema.get("type", "any")
    names = kinds if isinstance(kinds, list) else [kinds]
    shown = [f"list of {type_of(schema['items'])}" if each == "array" and "items" in schema else each for each in names]
    text = " or ".join(shown)
    if "enum" in schema:
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    return f"{text} ({escape(schema['format'])})" if "format" in schema else text


def limits_of(schema: dict[str, Any]) -> str:
    """What a value must keep to, in words."""
    names = {
        "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "minLength": "at least",
        "maxLength": "at most", "minItems": "at least", "maxItems": "at most",
    }  # fmt: skip
    units = {"Length": " characters", "Items": " entries"}
    said = [
        f"{words} {schema[name]}{next((unit for end, unit in units.items() if name.endswith(end)), '')}"
        for name, words in names.items()
        if name in schema
    ]
    if "default" in schema:
        said.append(f"{escape(json.dumps(schema['default'], ensure_ascii=False))} by default")
    return ", ".join(said)
