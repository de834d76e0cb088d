"""The reference as one HTML page: every operation with its parameters, body, answers and a call; every schema.

It loads nothing and runs nothing, so that it works without a network and under the strictest content policy.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from services.api.docs.markup import coloured, inline, limits_of, prose, type_of
from services.api.errors import Problem
from services.api.openapi.walk import operations, resolve

CSS = Path(__file__).with_name("page.css")
HEADLINES = {"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE"}


def reference(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {each["name"]: [] for each in document["tags"]}
    for method, path, operation in operations(document):
        by_tag[operation["tags"][0]].append((method, path, operation))
    menu = "".join(_menu(tag, entries) for tag, entries in by_tag.items())
    body = "".join(_group(document, each, by_tag[each["name"]]) for each in document["tags"])
    body += _webhooks(document)
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    links = (
        '<p class=links><a href="/openapi.json">OpenAPI 3.1</a> · <a href="/openapi-3.0.json">OpenAPI 3.0</a> · '
        '<a href="/docs/errors">Error codes</a></p>'
    )
    info = document["info"]
    main = (
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>{links}{prose(info['description'])}"
    )
    return _page(str(info["title"]), menu, f'{main}{body}<h2 id="schemas">Schemas</h2>{schemas}')


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
        f"<title>{escape(title)}</title><style>{_css()}</style></head>"
        f"<body><nav>{menu}</nav><main>{main}</main></body></html>"
    )


@cache
def _css() -> str:
    return CSS.read_text(encoding="utf-8")


def _menu(tag: str, entries: list[tuple[str, str, dict[str, Any]]]) -> str:
    links = "".join(
        f'<a href="#{each["operationId"]}"><span class="dot {method}"></span>{escape(each["summary"])}</a>'
        for method, _, each in entries
    )
    return f"<details open><summary>{escape(tag)}</summary>{links}</details>"


def _group(document: dict[str, Any], tag: dict[str, str], entries: list[tuple[str, str, dict[str, Any]]]) -> str:
    each = "".join(_operation(document, *entry) for entry in entries)
    return f'<h2 id="tag-{tag["name"]}">{escape(tag["name"])}</h2><p>{inline(tag["description"])}</p>{each}'


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    gone = " <span class=gone>deprecated</span>" if operation.get("deprecated") else ""
    said = (
        f"<h3>{escape(operation['summary'])}{gone}</h3>"
        f'<p class=call><span class="method {method}">{HEADLINES[method]}</span><code>{escape(path)}</code></p>'
        f"{prose(operation['description'])}{_parameters(document, operation)}{_body(operation)}"
        f"{_answers(document, operation)}"
    )
    return f'<section id="{operation["operationId"]}"><div>{said}</div><div>{_samples(operation)}</div></section>'


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> str:
    rows = []
    for node in operation.get("parameters", ()):
        each = resolve(document, node)
        schema = each.get("schema", {})
        words = each.get("description") or schema.get("description") or ""
        needed = " <span class=needed>required</span>" if each.get("required") and each["in"] != "path" else ""
        rows.append(
            f"<tr><td><code>{escape(each['name'])}</code><br><span class=note>{each['in']}</span>{needed}</td>"
            f"<td>{_field({**schema, 'description': words})}</td></tr>"
        )
    return (
        f"<details><summary>Parameters ({len(rows)})</summary><table>{''.join(rows)}</table></details>" if rows else ""
    )


def _body(operation: dict[str, Any]) -> str:
    sent = operation.get("requestBody", {})
    kinds = sent.get("content", {})
    if not kinds:
        return ""
    schema = next(iter(kinds.values())).get("schema", {})
    needed = "" if sent.get("required") else _note("may be left out")
    names = " or ".join(f"<code>{escape(kind)}</code>" for kind in kinds)
    return f"<p><strong>Body</strong> {type_of(schema)}, as {names} {needed}</p>"


def _answers(document: dict[str, Any], operation: dict[str, Any]) -> str:
    rows = []
    for status, node in operation["responses"].items():
        answer = resolve(document, node)
        shapes = " ".join(type_of(each.get("schema", {})) for each in answer.get("content", {}).values())
        shape = f"{shapes}. " if shapes and status < "400" else ""
        rows.append(f"<tr><td><code>{status}</code></td><td>{shape}{inline(answer.get('description', ''))}</td></tr>")
    return f"<details><summary>Answers</summary><table>{''.join(rows)}</table></details>"


def _samples(operation: dict[str, Any]) -> str:
    shown = [("Call", escape(each["source"])) for each in operation.get("x-codeSamples", ())]
    for status, answer in operation["responses"].items():
        contents = answer.get("content", {}).values() if status.startswith("2") else ()
        shown += [(f"Answer {status}", coloured(each["example"])) for each in contents if "example" in each]
    return "".join(f"<figure><figcaption>{name}</figcaption><pre>{text}</pre></figure>" for name, text in shown[:2])


def _webhooks(document: dict[str, Any]) -> str:
    hooks = document.get("webhooks", {})
    rows = "".join(
        f'<tr id="webhook-{escape(name)}"><td><code>{escape(name)}</code></td>'
        f"<td>{inline(item.get('post', {}).get('summary', ''))}</td></tr>"
        for name, item in hooks.items()
    )
    return f'<h2 id="webhooks">Sent to your webhooks</h2><table>{rows}</table>' if rows else ""


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{' *' if field in required else ''}</td><td>{_field(each)}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{type_of(schema)}</p>"
    return (
        f'<section class=schema id="schema-{escape(name)}"><div><details><summary><code>{escape(name)}</code> '
        f"{_note(inline(schema.get('description') or ''))}</summary>{table}</details></div></section>"
    )


def _field(schema: dict[str, Any]) -> str:
    words = inline(schema.get("description") or "")
    return f"{type_of(schema)} {_note(limits_of(schema))}<br>{words}{_known(schema)}"


def _note(text: str) -> str:
    return f"<span class=note>{text}</span>" if text else ""


def _known(schema: dict[str, Any]) -> str:
    values = schema.get("x-extensible-enum") or schema.get("items", {}).get("x-extensible-enum")
    return f" <span class=note>Known: {escape(', '.join(map(str, values)))}; more may come.</span>" if values else ""
