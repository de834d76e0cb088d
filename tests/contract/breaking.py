"""What a client of one OpenAPI document would trip over in the next one.

What is sent may only become freer, what is answered only narrower and richer. A field that a body no longer knows is a
break, because unknown fields are refused. Values may join an `x-extensible-enum`, and an `enum` of what is sent.
A refusal is an answer like any other: its status, its media type and its fields are read by programs. Of the ways to be
let in none may go or ask for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from services.api.openapi.walk import operations, resolve

# Keyword, and whether a greater value lets less through.
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
EXACT = ("pattern", "format", "multipleOf", "uniqueItems")
NUMBERS = {"integer", "number"}


def version_allows(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the version says that clients must look: another major one, or before 1.0 another minor one."""
    before, after = (document["info"]["version"].split(".") for document in (old, new))
    return bool(before[0] != after[0] or (before[0] == "0" and before[1] != after[1]))


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Every break, in words that begin with its place; empty where there is none."""
    return list(_Comparison(old, new).of_documents())


@dataclass
class _Comparison:
    old: dict[str, Any]
    new: dict[str, Any]
    seen: set[tuple[str, str, bool]] = field(default_factory=set)

    def of_documents(self) -> Iterator[str]:
        yield from self._of_schemes()
        after = {(method, path): each for method, path, each in operations(self.new)}
        for method, path, operation in operations(self.old):
            place = f"{method.upper()} {path}"
            if (method, path) in after:
                yield from self._of_operations(place, operation, after[method, path])
            else:
                yield f"{place}: the operation is gone"
        sent = {path: each for _, path, each in operations(self.new, "webhooks")}
        for _, name, hook in operations(self.old, "webhooks"):
            if name not in sent:
                yield f"webhook {name}: it is gone"
                continue
            # What we send to others is read by them, as an answer is.
            yield from self._of_bodies(f"webhook {name}", hook.get("requestBody"), sent[name].get("requestBody"), False)

    def _of_operations(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        for name in ("operationId", "tags"):
            if old.get(name) != new.get(name):
                yield f"{place}: {name} was {old.get(name)}, is {new.get(name)}"
        more = set(new.get("x-required-scopes", ())) - set(old.get("x-required-scopes", ()))
        if more:
            yield f"{place}: needs the scope {', '.join(sorted(more))} now"
        yield from self._of_parameters(place, old, new)
        yield from self._of_bodies(f"{place} body", old.get("requestBody"), new.get("requestBody"), True)
        yield from self._of_security(place, old, new)
        for status, response in old["responses"].items():
            after = new["responses"].get(status)
            if after is None:
                yield f"{place}: {status} is answered no more"
            else:
                yield from self._of_responses(f"{place} {status}", response, after)

    def _of_schemes(self) -> Iterator[str]:
        before, after = (each.get("components", {}).get("securitySchemes", {}) for each in (self.old, self.new))
        for name, scheme in before.items():
            if name not in after:
                yield f"security scheme {name}: it is gone"
                continue
            for key in sorted((scheme.keys() | after[name].keys()) - {"description"}):
                if scheme.get(key) != after[name].get(key):
                    yield f"security scheme {name}: {key} was {scheme.get(key)}, is {after[name].get(key)}"

    def _of_security(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        """Each way in must still be one: with no other scheme and no further scope."""
        before, after = (
            operation.get("security", document.get("security", []))
            for operation, document in ((old, self.old), (new, self.new))
        )
        if not after or {} in after:
            return
        if not before or {} in before:
            yield f"{place}: it was open to all, and needs {', '.join(sorted(set().union(*after)))} now"
            return
        for way in before:
            if not any(_lets_in(way, each) for each in after):
                yield f"{place}: {way} lets nobody in now, only {after}"

    def _of_parameters(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        before, after = self._parameters(self.old, old), self._parameters(self.new, new)
        for key, parameter in before.items():
            there = f"{place} {key[0]} {key[1]}"
            if key not in after:
                yield f"{there}: the parameter is gone"
                continue
            if after[key].get("required") and not parameter.get("required"):
                yield f"{there}: it is required now"
            yield from self._of_schemas(there, parameter["schema"], after[key]["schema"], True)
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{place} {key[0]} {key[1]}: it is new and required"

    @staticmethod
    def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
        found = [resolve(document, each) for each in operation.get("parameters", ())]
        return {(each["in"], each["name"].lower()): each for each in found}

    def _of_bodies(
        self, place: str, old: dict[str, Any] | None, new: dict[str, Any] | None, sent: bool
    ) -> Iterator[str]:
        if new and new.get("required") and not (old or {}).get("required") and sent:
            yield f"{place}: it is required now"
        if old and new:
            yield from self._of_contents(place, old.get("content", {}), new.get("content", {}), sent)
        elif old:
            yield f"{place}: it is gone"

    def _of_responses(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        before, after = resolve(self.old, old), resolve(self.new, new)
        for name in before.get("headers", {}):
            if name not in after.get("headers", {}):
                yield f"{place}: the header {name} is gone"
                continue
            headers = resolve(self.old, before["headers"][name]), resolve(self.new, after["headers"][name])
            schemas = [each.get("schema", {}) for each in headers]
            yield from self._of_schemas(f"{place} {name}", schemas[0], schemas[1], False)
        yield from self._of_contents(place, before.get("content", {}), after.get("content", {}), False)

    def _of_contents(self, place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
        for kind, content in old.items():
            if kind not in new:
                yield f"{place}: {kind} is gone"
            else:
                yield from self._of_schemas(place, content.get("schema", {}), new[kind].get("schema", {}), sent)

    def _of_schemas(self, place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
        names = (old.get("$ref", ""), new.get("$ref", ""))
        if all(names):
            if (*names, sent) in self.seen:
                return
            self.seen.add((*names, sent))
        if names[0] != names[1]:
            yield f"{place}: its schema was {names[0] or 'without a name'}, is {names[1] or 'without a name'}"
        before, after = resolve(self.old, old), resolve(self.new, new)
        yield from _of_types(place, before, after, sent)
        yield from _of_values(place, before, after, sent)
        if sent:
            yield from _of_bounds(place, before, after)
        elif before.get("format") != after.get("format"):
            yield f"{place}: the format was {before.get('format')}, is {after.get('format')}"
        yield from self._of_objects(place, before, after, sent)
        yield from self._of_unions(place, before, after, sent)
        if "items" in before and "items" in after:
            yield from self._of_schemas(f"{place}[]", before["items"], after["items"], sent)

    def _of_objects(self, place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self._of_schemas(f"{place}/{name}", schema, after[name], sent)
            else:
                yield f"{place}/{name}: the field is gone"
        needed = set(new.get("required", ())) - set(old.get("required", ()))
        given_up = set(old.get("required", ())) - set(new.get("required", ()))
        for name in sorted(needed) if sent else sorted(given_up & set(after)):
            yield f"{place}/{name}: it is {'required now' if sent else 'no longer always there'}"
        rest = [schema.get("additionalProperties", True) for schema in (old, new)]
        if sent and rest[0] is not False and rest[1] is False:
            yield f"{place}: other fields are refused now"
        if isinstance(rest[0], dict) and isinstance(rest[1], dict):
            yield from self._of_schemas(f"{place}/*", rest[0], rest[1], sent)

    def _of_unions(self, place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
        for union in ("oneOf", "anyOf"):
            before = {_name(each): each for each in old.get(union, ())}
            after = {_name(each): each for each in new.get(union, ())}
            lost, added = before.keys() - after.keys(), after.keys() - before.keys()
            for name in sorted(lost if sent else added):
                if before and after:
                    yield f"{place}: {name} {'may no longer be sent' if sent else 'may be answered now'}"
            for name in before.keys() & after.keys():
                yield from self._of_schemas(place, before[name], after[name], sent)
            if bool(before) != bool(after):
                yield f"{place}: {union} was {sorted(before)}, is {sorted(after)}"


def _lets_in(held: dict[str, list[str]], asked: dict[str, list[str]]) -> bool:
    return all(name in held and set(scopes) <= set(held[name]) for name, scopes in asked.items())


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref") or schema.get("type"))


def _types(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", ())
    return {kinds} if isinstance(kinds, str) else set(kinds)


def _of_types(place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
    before, after = _types(old), _types(new)
    wide, narrow = (after, before) if sent else (before, after)
    if "number" in wide:
        wide = wide | NUMBERS
    if (before or after) and wide and not (narrow and narrow <= wide):
        yield f"{place}: the type was {sorted(before)}, is {sorted(after)}"


def _of_values(place: str, old: dict[str, Any], new: dict[str, Any], sent: bool) -> Iterator[str]:
    before, after = old.get("enum"), new.get("enum")
    if before is not None and after is not None:
        wrong = (
            [each for each in before if each not in after] if sent else [each for each in after if each not in before]
        )
        if wrong:
            yield f"{place}: the values {wrong} {'are refused now' if sent else 'may be answered now'}"
    elif (after is not None) if sent else (before is not None):
        yield f"{place}: the values were {before or 'free'}, are {after or 'free'}"
    if sent and "x-extensible-enum" in new:
        lost = [each for each in old.get("x-extensible-enum", ()) if each not in new["x-extensible-enum"]]
        if lost or "x-extensible-enum" not in old:
            yield f"{place}: the values {lost or 'that are known'} are {'refused' if lost else 'the only ones'} now"


def _of_bounds(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name in (*LOWER, *UPPER):
        after, before = new.get(name), old.get(name)
        if after is None:
            continue
        if before is None or (after > before if name in LOWER else after < before):
            yield f"{place}: {name} was {before}, is {after}"
    for name in EXACT:
        if new.get(name) is not None and new.get(name) != old.get(name):
            yield f"{place}: {name} was {old.get(name)}, is {new[name]}"
    if old.get("default") != new.get("default"):
        yield f"{place}: the default was {old.get('default')}, is {new.get('default')}"
