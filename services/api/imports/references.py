"""Who and what the rows of a batch name: customers, members, products, found or made, set-based.

Something made by an import carries the source and its key there, so that the database itself keeps two imports from
making it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as ByKey
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api.errors import wrong
from services.api.fields import sort_key
from services.api.imports.conversions import Wrong
from services.api.imports.directory import Candidate, Directory, Fault, Known, Way, tokens
from services.api.imports.mapping import Mapping
from services.api.imports.naming import Named
from services.api.imports.plan import Parsed
from services.api.imports.reach import within
from services.api.owners import OWNING_ROLES
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry, Event
from shared.ids import new_id
from shared.models import customers, opportunities
from shared.tenancy import Principal

_PLACEHOLDER = "placeholder:"
_WORDS = {"customer": "customer", "owner": "member", "product": "product"}
_DELETED = "deleted_reference"
CUSTOMERS = sql(
    "SELECT coalesce(v.id, c.id) AS id, true AS by_key, c.name, c.sort_key, c.external_id,"
    " CASE WHEN v.id IS NULL THEN c.deleted_at ELSE v.deleted_at END AS deleted_at"
    # What was merged into another customer is that one.
    " FROM sales.customers c LEFT JOIN sales.customers v ON c.deleted_at IS NOT NULL"
    "   AND v.workspace_id = c.workspace_id AND v.id = sales.survivor_of(c.workspace_id, 'customer', c.id)"
    " WHERE c.workspace_id = :workspace_id AND c.external_source = :source"
    "   AND c.external_id = ANY(CAST(:keys AS text[]))"
    " UNION ALL SELECT id, false, name, sort_key, CASE WHEN external_source = :source THEN external_id END, deleted_at"
    " FROM sales.customers"
    " WHERE workspace_id = :workspace_id AND sort_key = ANY(CAST(:sort_keys AS text[])) AND deleted_at IS NULL"
)
MEMBERS = sql(
    "SELECT id, name, email, role, active,"
    " CASE WHEN external_source = :source THEN external_id END AS external_id"
    " FROM sales.members WHERE workspace_id = :workspace_id"
)
# Every name that is looked for is there too, as the database folds it.
PRODUCTS = sql(
    "SELECT id, name, lower(name) AS folded, CASE WHEN external_source = :source THEN external_id END AS external_id,"
    " deleted_at FROM sales.products WHERE workspace_id = :workspace_id AND ((external_source = :source AND external_id"
    " = ANY(CAST(:keys AS text[]))) OR (deleted_at IS NULL AND lower(name) = ANY(ARRAY("
    "   SELECT lower(n) FROM unnest(CAST(:names AS text[])) n))))"
    " UNION ALL SELECT NULL, n, lower(n), NULL, NULL FROM unnest(CAST(:names AS text[])) n"
)
OPPORTUNITIES = sql(
    "SELECT id, external_id, customer_id, deleted_at FROM sales.opportunities WHERE workspace_id = :workspace_id"
    " AND external_source = :source AND external_id = ANY(CAST(:keys AS text[]))"
)
CONTACTS = sql(
    "SELECT coalesce(v.id, c.id) AS id, c.external_id, coalesce(v.customer_id, c.customer_id) AS customer_id,"
    " CASE WHEN v.id IS NULL THEN c.deleted_at ELSE v.deleted_at END AS deleted_at"
    " FROM sales.contacts c LEFT JOIN sales.contacts v ON c.deleted_at IS NOT NULL"
    "   AND v.workspace_id = c.workspace_id AND v.id = sales.survivor_of(c.workspace_id, 'contact', c.id)"
    " WHERE c.workspace_id = :workspace_id AND c.external_source = :source"
    "   AND c.external_id = ANY(CAST(:keys AS text[]))"
)
MAKE_MEMBERS = sql(
    "INSERT INTO sales.members (workspace_id, id, name, email, role, external_source, external_id, occurred_at,"
    " recorded_at, updated_at) SELECT :workspace_id, m.id, m.name, m.email, 'rep', :source, m.key, :now, :now, :now"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:emails AS text[]), CAST(:keys AS text[]))"
    " AS m(id, name, email, key)"
)


def is_placeholder(key: str) -> bool:
    return key.startswith(_PLACEHOLDER)


def plain(id_: UUID) -> UUID:
    """An id of the standard library's own class, which JSON encoders know, from the driver's."""
    return UUID(bytes=id_.bytes)


@dataclass(slots=True)
class Made:
    """A record that a batch makes because rows name it, `row` first; `values` are columns of its table."""

    id: UUID
    key: str
    values: dict[str, Any]
    occurred_at: datetime | None
    row: Parsed
    named: Named
    candidate: Candidate


class References:
    """Finds what the rows of one batch name, and keeps for the next `branch` what is certain."""

    def __init__(self, mapping: Mapping, pointers: dict[str, str], actor: Principal) -> None:
        self._mapping = mapping
        self._actor = actor
        self._pointers = pointers
        self._columns = {
            "owner": "member_id" if mapping.kind == "interactions" else "owner_id",
            "product": "product_id",
            "customer": "customer_id",
        }
        self._kinds = [kind for kind in self._columns if getattr(mapping, kind) is not None]
        self._known = {kind: Known() for kind in self._kinds}
        self._begin()

    def _begin(self) -> None:
        self._fresh = {kind: Known() for kind in self._kinds}
        self._asked: dict[str, dict[Named, tuple[Way, ...]]] = {kind: {} for kind in self._kinds}
        self._directories: dict[str, Directory] = {}
        # Names of products as the database folds them.
        self._folded: dict[str, str] = {}
        self._made: dict[str, list[Made]] = {kind: [] for kind in ("customer", "owner", "product")}
        # The last row that has made something.
        self._maker: Parsed | None = None

    def branch(self) -> References:
        """The same knowledge for another attempt or batch, which makes what it makes by itself."""
        other = References(self._mapping, self._pointers, self._actor)
        other._known = self._known
        return other

    def apart(self) -> References:
        """A branch whose knowledge comes back to nobody: of what is undone nothing may be kept."""
        other = self.branch()
        other._known = deepcopy(self._known)
        return other

    @property
    def new_customers(self) -> list[Made]:
        return self._made["customer"]

    @property
    def new_products(self) -> list[Made]:
        return self._made["product"]

    @property
    def has_made(self) -> bool:
        """Whether anything was made that another batch could name; a placeholder is its own row's alone."""
        return any(not is_placeholder(made.key) for each in self._made.values() for made in each)

    @property
    def makers(self) -> dict[int, set[str]]:
        """What kinds of things were made by which rows (their numbers)."""
        found: dict[int, set[str]] = {}
        for kind, each in self._made.items():
            for made in each:
                found.setdefault(made.row.number, set()).add(kind)
        return found

    def keep(self, *, made: bool) -> None:
        """What was found is certain at once; what was made, only after the commit."""
        for kind, known in self._known.items():
            known.shrink()
            new = {each.id for each in self._made[kind]}
            known.drop(token for each in self._made[kind] for token in tokens(each.named))
            for named, id_ in self._fresh[kind].ids.items():
                if id_ not in new or (made and not is_placeholder(named.key or "")):
                    known.put(named, id_)

    async def resolve(
        self, tx: Tx, rows: list[Parsed], existing: ByKey[str, Row], judge: Callable[[Parsed], None]
    ) -> set[int]:
        """Sets `values[…_id]` of every row; what can't be found is an error of the row.

        Each row finds what the rows before it have made, as if each were a batch of its own. `existing` are the records
        that are there, by key. A row that makes something goes through `judge`, and makes nothing if it gets an error
        there; gives the numbers of the rows that did. What an earlier call has made is forgotten.
        """
        self._begin()
        of_customers, contacts = {}, {}
        if self._mapping.opportunity is not None:
            of_customers = await self._opportunities(tx, rows)
        if self._mapping.contacts is not None:
            contacts = await self._contacts(tx, rows)
        for row in rows:
            if "customer" in self._kinds and row.references.get("customer") is None:
                self._place(row)
        await self._look(tx, rows, existing)
        judged: set[int] = set()
        for row in rows:
            self._resolve(row, existing.get(row.key))
            self._check(row, row.key in existing, of_customers)
            if self._mapping.contacts is not None:
                self._take_part(row, contacts)
            if self._maker is row:
                judge(row)
                judged.add(row.number)
                if row.errors:
                    self._withdraw(row)
        return judged

    def _place(self, row: Parsed) -> None:
        """A row that names no customer gets one of its own, where the mapping wants that."""
        reference = self._mapping.customer
        if reference is not None and reference.empty == "placeholder":
            name = reference.placeholder_name.replace("{external_id}", row.key)[:200]
            row.references["customer"] = Named(f"{_PLACEHOLDER}{row.key}"[:200], name)
        else:
            self._complain(row, "customer", Wrong("required", "names no customer"))

    async def _look(self, tx: Tx, rows: list[Parsed], existing: ByKey[str, Row]) -> None:
        """Asks the database for all that is not known, and for what is, where the batch might make its like."""
        for kind in self._kinds:
            known, asked = self._known[kind], self._asked[kind]
            given = dict.fromkeys([row.references.get(kind) for row in rows])
            asked |= {named: () for named in given if named is not None and named not in known.ids}
            for row in rows if existing else ():
                named, present = row.references.get(kind), existing.get(row.key)
                has = present[self._columns[kind]] if present is not None else None
                if named is not None and has is not None and has != known.ids.get(named):
                    asked[named] = ()
            words = {token for named in asked for token in tokens(named)}
            asked |= dict.fromkeys(known.sharing(words), ())
        if self._asked.get("owner"):
            self._directories["owner"] = await self._owners(tx)
        if self._asked.get("product"):
            self._directories["product"] = await self._products(tx)
        if self._asked.get("customer"):
            self._directories["customer"] = await self._customers(tx)

    def _resolve(self, row: Parsed, present: Row | None) -> None:
        values = row.values
        for kind in self._kinds:
            named, column = row.references.get(kind), self._columns[kind]
            if named is None:
                values[column] = None
            elif named not in self._asked[kind]:
                values[column] = self._known[kind].ids[named]
            else:
                outcome = self._find(kind, row, named, present[column] if present is not None else None)
                values[column] = None if isinstance(outcome, Wrong) else outcome
                if isinstance(outcome, Wrong):
                    self._complain(row, kind, outcome)

    def _find(self, kind: str, row: Parsed, named: Named, has: UUID | None) -> UUID | Wrong | None:
        """What is named, of what was asked for; `has` is what the row's own record has."""
        ways, fresh = self._asked[kind][named], self._fresh[kind]
        found = fresh.ids.get(named)
        if found is not None and (has is None or has == found):
            return found
        outcome = self._directories[kind].find(named, ways, has)
        if outcome is None:
            return self._missing(kind, row, named)
        # What only this row's own record makes certain is not so for others.
        if not isinstance(outcome, Wrong) and outcome == self._directories[kind].find(named, ways, None):
            fresh.put(named, outcome)
        return outcome

    def _missing(self, kind: str, row: Parsed, named: Named) -> UUID | Wrong | None:
        reference, key = getattr(self._mapping, kind), named.key or ""
        can_make = named.name or (kind == "owner" and named.email) or kind == "product"
        if reference.missing == "leave_empty":
            return None
        if reference.missing == "refuse" or not can_make:
            return Wrong("unknown_reference", f"“{key}” is no {_WORDS[kind]}")
        name = named.name or (kind == "owner" and named.email) or key
        values: dict[str, Any] = {"name": name}
        if kind == "owner":
            values["email"] = named.email
        elif kind == "customer":
            owned = reference.owned
            values |= {"sort_key": sort_key(name), "owner_id": row.values.get("owner_id") if owned else None}
        id_ = new_id()
        candidate = Candidate(id_, key, self._ways_of(kind, values))
        made = Made(id_, key, values, row.values.get("occurred_at"), row, named, candidate)
        self._made[kind].append(made)
        self._maker = row
        self._directories[kind].add(made.candidate)
        self._fresh[kind].drop(tokens(named))
        self._fresh[kind].put(named, made.id)
        return made.id

    def _withdraw(self, row: Parsed) -> None:
        """A row that is refused makes nothing."""
        for kind, made in self._made.items():
            if made and made[-1].row is row:
                gone = made.pop()
                self._directories[kind].remove(gone.candidate)
                self._fresh[kind].drop(tokens(gone.named))

    def _check(self, row: Parsed, is_there: bool, of_customers: dict[UUID, UUID]) -> None:
        """A new record goes to nobody beyond the actor's reach; nor does the customer that is made for it.

        An interaction counts for an opportunity of its own customer.
        """
        values = row.values
        owner_id = values.get("owner_id")
        if owner_id is not None and not is_there and not self._actor.may_see_owner(owner_id):
            self._complain(row, "owner", Wrong("out_of_reach", "is outside your team"))
        opportunity_id, customer_id = values.get("opportunity_id"), values.get("customer_id")
        if opportunity_id is not None and customer_id is not None and of_customers[opportunity_id] != customer_id:
            self._complain(row, "opportunity", Wrong("other_customer", "belongs to another customer"))

    async def make_members(self, tx: Tx) -> None:
        """Writes the members that rows name and that were not there, and tells of them."""
        made = self._made["owner"]
        if not made:
            return
        await tx.run(
            MAKE_MEMBERS,
            source=self._mapping.source,
            ids=[each.id for each in made],
            names=[each.values["name"] for each in made],
            emails=[each.values["email"] for each in made],
            keys=[each.key for each in made],
            now=tx.now,
        )
        for each in made:
            told = {"id": each.id, "role": "rep"}
            tx.effects.emit(Event("member.created", "member", each.id, tx.now, told, 1))
            changes = {"name": None, "role": [None, "rep"]}
            tx.effects.audit.append(AuditEntry("member.created", "member", each.id, 1, changes))

    def _ways_of(self, kind: str, values: ByKey[str, Any]) -> tuple[Way, ...]:
        """What a record with these values can be named by, first what counts most."""
        name, email = values["name"], values.get("email")
        by_email: tuple[Way, ...] = (("email", email.casefold()),) if email else ()
        if not name:
            return by_email
        if kind == "customer":
            # As the database looks: by the key that sorts it, and then letter by letter.
            return (("name", (values["sort_key"], name.casefold())),)
        folded = self._folded[name] if kind == "product" else name.casefold()
        return (*by_email, ("name", folded))

    async def _owners(self, tx: Tx) -> Directory:
        directory, asked = Directory("member"), self._asked["owner"]
        for row in await tx.rows(MEMBERS, source=self._mapping.source):
            sells = row["role"] in OWNING_ROLES and row["active"]
            fault = None if sells else Fault("unknown_reference", "is no active member who sells")
            directory.add(Candidate(plain(row["id"]), row["external_id"], self._ways_of("owner", row), fault))
        for named in asked:
            asked[named] = self._ways_of("owner", {"name": named.name, "email": named.email})
        return directory

    async def _products(self, tx: Tx) -> Directory:
        directory, asked = Directory("product"), self._asked["product"]
        keys = [named.key for named in asked]
        # What has no name is called by its key.
        names = list({named.name or named.key for named in asked})
        found = await tx.rows(PRODUCTS, source=self._mapping.source, keys=keys, names=names)
        self._folded = {row["name"]: row["folded"] for row in found}
        for row in found:
            if row["id"] is not None:
                gone = row["deleted_at"] is not None
                fault = Fault(_DELETED, "is a deleted product") if gone else None
                ways = () if gone else self._ways_of("product", row)
                directory.add(Candidate(plain(row["id"]), row["external_id"], ways, fault))
        for named in asked:
            asked[named] = self._ways_of("product", {"name": named.name})
        return directory

    async def _customers(self, tx: Tx) -> Directory:
        directory, asked = Directory("customer"), self._asked["customer"]
        for named in asked:
            # Only what has no id in the source is looked for by name.
            if named.external_id is None and named.name:
                asked[named] = self._ways_of("customer", {"name": named.name, "sort_key": sort_key(named.name)})
        sort_keys = list({folded[0] for ways in asked.values() for _, folded in ways})
        keys = [named.key for named in asked]
        known = await tx.rows(CUSTOMERS, source=self._mapping.source, keys=keys, sort_keys=sort_keys)
        seen = await within(tx, self._actor, customers, (row["id"] for row in known))
        for row in known:
            is_seen, id_, key = row["id"] in seen, plain(row["id"]), row["external_id"]
            if row["by_key"]:
                gone = Fault(_DELETED, "is a deleted customer") if row["deleted_at"] is not None else None
                fault = gone if is_seen else Fault("out_of_reach", "is a customer of somebody outside your team")
                directory.add(Candidate(id_, key, (), fault))
            elif is_seen:
                directory.add(Candidate(id_, key, self._ways_of("customer", row)), by_key=False)
        return directory

    async def _opportunities(self, tx: Tx, rows: list[Parsed]) -> dict[UUID, UUID]:
        """Whose the opportunities are that these rows name: opportunity → customer."""
        reference = self._mapping.opportunity
        for row in rows:
            # Every row says something of every column: those of a batch are the ones of its first row.
            row.values["opportunity_id"] = None
        keys = {named.external_id for row in rows if (named := row.references.get("opportunity"))}
        if reference is None or not keys:
            return {}
        source = reference.source or self._mapping.source
        found = {row["external_id"]: row for row in await tx.rows(OPPORTUNITIES, source=source, keys=list(keys))}
        seen = await within(tx, self._actor, opportunities, (row["id"] for row in found.values()))
        for row in rows:
            named = row.references.get("opportunity")
            match = found.get(named.external_id) if named else None
            if match is not None and match["deleted_at"] is None and match["id"] in seen:
                row.values["opportunity_id"] = match["id"]
            elif named is not None and match is not None and match["id"] not in seen:
                self._complain(row, "opportunity", _out_of_reach(named.key, "an opportunity"))
            elif named is not None and reference.missing == "refuse":
                self._complain(row, "opportunity", Wrong("unknown_reference", f"“{named.key}” is no opportunity"))
        return {row["id"]: row["customer_id"] for row in found.values()}

    async def _contacts(self, tx: Tx, rows: list[Parsed]) -> dict[str, Row]:
        """The contacts that rows name as having taken part, by key."""
        reference = self._mapping.contacts
        keys = {key for row in rows for key in row.contacts}
        if reference is None or not keys:
            return {}
        source = reference.source or self._mapping.source
        return {row["external_id"]: row for row in await tx.rows(CONTACTS, source=source, keys=list(keys))}

    def _take_part(self, row: Parsed, contacts: dict[str, Row]) -> None:
        """Who took part: contacts of the row's own customer, which is within reach."""
        reference = self._mapping.contacts
        row.contact_ids = []
        for key in row.contacts:
            match = contacts.get(key)
            known = match is not None and match["deleted_at"] is None
            if match is not None and known and match["customer_id"] == row.values.get("customer_id"):
                row.contact_ids.append(plain(match["id"]))
            elif reference is not None and reference.missing == "refuse":
                words = "is a contact of another customer" if known else "is no contact"
                code = "other_customer" if known else "unknown_reference"
                self._complain(row, "contacts", Wrong(code, f"“{key[:80]}” {words}"))

    def _complain(self, row: Parsed, kind: str, error: Wrong) -> None:
        row.errors.append(wrong(self._pointers[kind], error.code, f"{kind} {error.message}."))


def _out_of_reach(key: str | None, what: str) -> Wrong:
    return Wrong("out_of_reach", f"“{key}” is {what} of somebody outside your team")
