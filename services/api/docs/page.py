"""The reference as one HTML page: every operation with its parameters, body, answers and scopes; every schema."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from services.api.errors import Problem

CSS = Path(__file__).with_name("page.css")
METHODS = ("get", "post", "put", "patch", "delete")


def reference(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]
    tags = list(dict.fromkeys(operation["tags"][0] for _, _, operation in operations))
    by_tag = [(tag, [each for each in operations if each[2]["tags"][0] == tag]) for tag in tags]
    menu = "".join(
        f"<h2>{escape(tag)}</h2>"
        + "".join(f'<a href="#{o["operationId"]}">{escape(_title(o))}</a>' for _, _, o in entries)
        for tag, entries in by_tag
    )
    body = "".join(_operation(*each) for _, entries in by_tag for each in entries)
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    intro = "".join(f"<p>{escape(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    links = '<p><a href="/openapi.json">OpenAPI document</a> · <a href="/docs/errors">Error codes</a></p>'
    main = f"<h1>{escape(document['info']['title'])}</h1>{intro}{links}{body}<h1>Schemas</h1>{schemas}"
    return _page(str(document["info"]["title"]), menu, main)


def errors() -> str:
    """Every error code there is, with its status and meaning; a problem's `type` leads here."""
    kinds = sorted(Problem.registry.values(), key=lambda kind: (kind.status, kind.code))
    rows = "".join(
        f'<tr id="{kind.code}"><td><code>{kind.code}</code></td><td>{kind.status}</td>'
        f"<td>{escape(kind.title)}</td></tr>"
        for kind in kinds
    )
    main = (
        "<h1>Error codes</h1><p>Every error is <code>application/problem+json</code> with one of these codes.</p>"
        f"<table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table>"
    )
    return _page("Error codes", '<a href="/docs">Reference</a>', main)


def _page(title: str, menu: str, main: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS.read_text()}</style></head>"
        f"<body><nav>{menu}</nav><main>{main}</main></body></html>"
    )


def _title(operation: dict[str, Any]) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in operation["operationId"])
    return words[0].upper() + words[1:]


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    scopes = ", ".join(operation.get("x-required-scopes", ())) or "any key"
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{_type(each.get('schema', {}))}{' · required' if each.get('required') else ''}</td>"
        f"<td>{escape(each.get('description') or each.get('schema', {}).get('description') or '')}</td></tr>"
        for each in operation.get("parameters", ())
    )
    table = (
        f"<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>{parameters}</table>" if parameters else ""
    )
    sent = "".join(
        f"<p>Body: {_type(content.get('schema', {}))} <span class=note>({escape(kind)})</span></p>"
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    answers = "".join(
        f"<p>{escape(status)}: {_type(content.get('schema', {}))}</p>"
        for status, answer in operation["responses"].items()
        for content in answer.get("content", {}).values()
        if not status.endswith("XX")
    )
    return (
        f'<section id="{operation["operationId"]}"><p class=call><span class="method {method}">{method.upper()}</span>'
        f"<code>{escape(path)}</code></p><p>{escape(operation.get('description') or '')}</p>"
        f"<p class=scopes>Needs: {escape(scopes)}</p>{table}{sent}{answers}</section>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{' *' if field in required else ''}</td><td>{_type(each)}</td>"
        f"<td>{escape(each.get('description') or '')}{_known(each)}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"
    return (
        f'<section id="schema-{escape(name)}"><p class=call><code>{escape(name)}</code></p>'
        f"<p>{escape(schema.get('description') or '')}</p>{table}</section>"
    )


def _known(schema: dict[str, Any]) -> str:
    values = schema.get("x-extensible-enum")
    return f" <span class=note>Known: {escape(', '.join(values))}.</span>" if values else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    for union in ("oneOf", "anyOf", "allOf"):
        if union in schema:
            return " | ".join(_type(each) for each in schema[union])
    kind = schema.get("type", "any")
    names = kind if isinstance(kind, list) else [kind]
    text = " | ".join(escape(str(each)) for each in names)
    if "array" in names and "items" in schema:
        text = text.replace("array", f"list of {_type(schema['items'])}")
    return f"{text} ({escape(schema['format'])})" if "format" in schema else text
