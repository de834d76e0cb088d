"""What rows may name, as it stands at one row: what the database holds, and what the rows before have made.

A name is compared as the database's look-up compares it, so that it makes no difference in which batch a row stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unicodedata import combining, normalize
from uuid import UUID

from services.api.imports.conversions import Wrong
from services.api.imports.naming import Named

MOST_KEPT = 200_000
# What a name, or an e-mail, is compared by: what it is, and its folded form.
Way = tuple[str, Any]


def loosely(value: str) -> str:
    """The same for any two texts that some look-up might hold for one name; for some others as well."""
    if value.isascii():
        return value.lower()
    return "".join(each for each in normalize("NFKD", normalize("NFKD", value).casefold()) if not combining(each))


class Fault(NamedTuple):
    """Why what is named can't be taken."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that may be meant: by its key in the source, and in the other `ways` it is known in."""

    id: UUID
    key: str | None = None
    ways: tuple[Way, ...] = ()
    fault: Fault | None = None


class Directory:
    """Records of one kind, by key and by name; `what` is the word for one."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._by_key: dict[str, Candidate] = {}
        self._alike: dict[Way, dict[UUID, Candidate]] = {}

    def add(self, candidate: Candidate, *, by_key: bool = True) -> None:
        if by_key and candidate.key is not None:
            self._by_key[candidate.key] = candidate
        for way in candidate.ways:
            self._alike.setdefault(way, {})[candidate.id] = candidate

    def remove(self, candidate: Candidate) -> None:
        if candidate.key is not None:
            del self._by_key[candidate.key]
        for way in candidate.ways:
            del self._alike[way][candidate.id]

    def find(self, named: Named, ways: Iterable[Way], present: UUID | None) -> UUID | Wrong | None:
        """What is named; `present` is what the row's own record has. In this order:

        what it has already, if that bears the name and the row gives no id; what has the id; what alone bears the name;
        of several, what the record has, or what an import made by this very name.
        """
        key = named.key or ""
        own = self._by_key.get(key)
        groups = [group for way in ways if (group := self._alike.get(way))]
        if present is not None and named.external_id is None:
            for group in ({own.id: own} if own else {}, *groups):
                if present in group:
                    return self._taken(group[present], key)
        if own is not None:
            return self._taken(own, key)
        if not groups:
            return None
        first = groups[0]
        if len(first) == 1:
            return self._taken(next(iter(first.values())), key)
        if present is not None and present in first:
            return self._taken(first[present], key)
        called = {text.casefold() for text in (named.email, named.name) if text}
        by_name = [each for each in first.values() if each.key is not None and each.key.casefold() in called]
        if len(by_name) == 1 and named.external_id is None:
            return self._taken(by_name[0], key)
        return Wrong("ambiguous_reference", f"“{key}” is the name of more than one {self._what}; give external ids")

    @staticmethod
    def _taken(candidate: Candidate, key: str) -> UUID | Wrong:
        if candidate.fault is not None:
            return Wrong(candidate.fault.code, f"“{key}” {candidate.fault.words}")
        return candidate.id


@dataclass(slots=True)
class Known:
    """What was found before, until something is made that the same words might mean."""

    ids: dict[Named, UUID] = field(default_factory=dict)
    _by_token: dict[str, set[Named]] = field(default_factory=dict)

    def put(self, named: Named, id_: UUID) -> None:
        self.ids[named] = id_
        for token in tokens(named):
            self._by_token.setdefault(token, set()).add(named)

    def drop(self, these: Iterable[str]) -> None:
        for token in these:
            for named in self._by_token.pop(token, ()):
                self.ids.pop(named, None)

    def sharing(self, these: Iterable[str]) -> Iterator[Named]:
        """What is known by any of these tokens."""
        for token in these:
            yield from self._by_token.get(token, ())

    def shrink(self) -> None:
        """Forgets all where it has become too much."""
        if len(self.ids) > MOST_KEPT:
            self.ids.clear()
            self._by_token.clear()


def tokens(named: Named) -> set[str]:
    """What two ways of naming one record have in common at least one of."""
    return {loosely(each) for each in named if each}
