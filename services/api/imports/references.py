"""Who and what the rows of a batch name: customers, members, products, found or made, set-based.

Something made by an import carries the source and its key there, so that the database itself keeps two imports from
making it twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api.errors import wrong
from services.api.fields import sort_key
from services.api.imports.conversions import Wrong
from services.api.imports.mapping import Mapping
from services.api.imports.plan import Named, Parsed
from services.api.imports.reach import within
from services.api.owners import OWNING_ROLES
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry, Event
from shared.ids import new_id
from shared.models import customers, opportunities
from shared.tenancy import Principal

MOST_KEPT = 200_000
_PLACEHOLDER = "placeholder:"
# Where rows hold what they name and what may have to be made.
_COLUMNS = ("customer_id", "product_id", "owner_id", "member_id")
CUSTOMERS = sql(
    "SELECT coalesce(v.id, c.id) AS id, c.name, c.sort_key, c.owner_id, c.external_id,"
    " CASE WHEN v.id IS NULL THEN c.deleted_at ELSE v.deleted_at END AS deleted_at"
    # What was merged into another customer is that one.
    " FROM sales.customers c LEFT JOIN sales.customers v ON c.deleted_at IS NOT NULL"
    "   AND v.workspace_id = c.workspace_id AND v.id = sales.survivor_of(c.workspace_id, 'customer', c.id)"
    " WHERE c.workspace_id = :workspace_id AND c.external_source = :source"
    "   AND c.external_id = ANY(CAST(:keys AS text[]))"
    " UNION ALL SELECT id, name, sort_key, owner_id, NULL, deleted_at FROM sales.customers"
    " WHERE workspace_id = :workspace_id AND sort_key = ANY(CAST(:sort_keys AS text[])) AND deleted_at IS NULL"
)
MEMBERS = sql(
    "SELECT id, lower(name) AS name, lower(email) AS email, role, active,"
    " CASE WHEN external_source = :source THEN external_id END AS external_id"
    " FROM sales.members WHERE workspace_id = :workspace_id"
)
PRODUCTS = sql(
    "SELECT id, lower(name) AS name, CASE WHEN external_source = :source THEN external_id END AS external_id,"
    " deleted_at FROM sales.products WHERE workspace_id = :workspace_id AND ((external_source = :source AND external_id"
    " = ANY(CAST(:keys AS text[]))) OR (deleted_at IS NULL AND lower(name) = ANY(CAST(:names AS text[]))))"
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
class Found:
    """One kind of reference: what is known from committed batches, and what this one found or made."""

    known: dict[str, UUID] = field(default_factory=dict)
    fresh: dict[str, UUID | Wrong] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)

    def make(self, key: str, id_: UUID) -> None:
        self.fresh[key] = id_
        self.made.add(key)

    def forget(self, key: str) -> None:
        del self.fresh[key]
        self.made.discard(key)

    def keep(self, *, made: bool) -> None:
        """Remembers for later batches what was found, and what was `made` if that is committed."""
        if len(self.known) > MOST_KEPT:
            self.known.clear()
        for key, found in self.fresh.items():
            if not isinstance(found, Wrong) and (key not in self.made or (made and not is_placeholder(key))):
                self.known[key] = found


@dataclass(slots=True)
class Made:
    """A record that a batch makes because rows name it, `row` first; `values` are columns of its table."""

    id: UUID
    key: str
    values: dict[str, Any]
    occurred_at: datetime | None
    row: Parsed


class References:
    """Finds what the rows of one batch name, and keeps for the next `branch` what is certain."""

    def __init__(self, mapping: Mapping, pointers: dict[str, str], actor: Principal) -> None:
        self._mapping = mapping
        self._actor = actor
        self._pointers = pointers
        self._found = {name: Found() for name in ("customer", "owner", "product")}
        self.new_customers: list[Made] = []
        self.new_products: list[Made] = []
        self.new_members: list[Made] = []

    def branch(self) -> References:
        """The same knowledge for another attempt or batch, which makes what it makes by itself."""
        other = References(self._mapping, self._pointers, self._actor)
        other._found = {name: Found(found.known) for name, found in self._found.items()}
        return other

    def apart(self) -> References:
        """A branch whose knowledge comes back to nobody: of what is undone nothing may be kept."""
        other = self.branch()
        for found in other._found.values():
            found.known = found.known.copy()
        return other

    @property
    def has_made(self) -> bool:
        """Whether anything was made that another batch could name; a placeholder is its own row's alone."""
        return any(not is_placeholder(key) for found in self._found.values() for key in found.made)

    def keep(self, *, made: bool) -> None:
        """What was found is certain at once; what was made, only after the commit."""
        for found in self._found.values():
            found.keep(made=made)

    def settle(self, rows: Iterable[Parsed]) -> None:
        """Forgets what is to be made and none of these rows names: one that is refused makes nothing."""
        if not (self.new_customers or self.new_products or self.new_members):
            return
        first: dict[Any, Parsed] = {}
        for row in rows:
            for column in _COLUMNS:
                first.setdefault(row.values.get(column), row)
        self.new_customers = self._settled("customer", self.new_customers, first)
        self.new_products = self._settled("product", self.new_products, first)
        self.new_members = self._settled("owner", self.new_members, first)

    def _settled(self, kind: str, made: list[Made], first: dict[Any, Parsed]) -> list[Made]:
        kept: list[Made] = []
        for each in made:
            row = first.get(each.id)
            if row is None:
                self._found[kind].forget(each.key)
                continue
            if row is not each.row:
                # The row that named it first is refused, and says nothing about it.
                if "owner_id" in each.values:
                    each.values["owner_id"] = row.values.get("owner_id") if self._owned else None
                each.occurred_at = row.values.get("occurred_at")
            kept.append(each)
        return kept

    @property
    def _owned(self) -> bool:
        return self._mapping.customer is not None and self._mapping.customer.owned

    async def resolve(self, tx: Tx, rows: list[Parsed], known: Collection[str]) -> None:
        """Sets `values[…_id]` of every row; what can't be found is an error of the row.

        `known` are the keys of rows whose records are there already.
        """
        if self._mapping.owner is not None:
            await self._owners(tx, rows)
            self._check_owners(rows, known)
        if self._mapping.product is not None:
            await self._products(tx, rows)
        of_customers: dict[UUID, UUID] = {}
        if self._mapping.opportunity is not None:
            of_customers = await self._opportunities(tx, rows)
        if self._mapping.customer is not None:
            await self._customers(tx, rows)
        if of_customers:
            self._check_customers(rows, of_customers)
        if self._mapping.contacts is not None:
            await self._contacts(tx, rows)

    def _unknown(self, kind: str, rows: Iterable[Parsed]) -> dict[str, tuple[Named, Parsed]]:
        """What rows name that has not been looked for yet, with the first row that names it."""
        found = self._found[kind]
        unknown: dict[str, tuple[Named, Parsed]] = {}
        known, fresh = found.known, found.fresh
        for row in rows:
            named = row.references.get(kind)
            if named is None or row.errors:
                continue
            key = named.key
            if key is not None and key not in known and key not in fresh and key not in unknown:
                unknown[key] = (named, row)
        return unknown

    async def _owners(self, tx: Tx, rows: list[Parsed]) -> None:
        reference, found = self._mapping.owner, self._found["owner"]
        unknown = self._unknown("owner", rows)
        if unknown:
            members = await tx.rows(MEMBERS, source=self._mapping.source)
            for key, (named, row) in unknown.items():
                match = _match(named, members, "member")
                if match is None and reference is not None and reference.missing == "create":
                    said = {"name": named.name or named.email, "email": named.email}
                    made = Made(new_id(), key, said, None, row)
                    self.new_members.append(made)
                    found.make(key, made.id)
                elif match is None:
                    if reference is None or reference.missing == "refuse":
                        found.fresh[key] = Wrong("unknown_reference", f"“{key}” is no member")
                elif isinstance(match, Wrong):
                    found.fresh[key] = match
                elif match["role"] in OWNING_ROLES and match["active"]:
                    found.fresh[key] = plain(match["id"])
                else:
                    found.fresh[key] = Wrong("unknown_reference", f"“{key}” is no active member who sells")
        self._assign(rows, "owner", "member_id" if self._mapping.kind == "interactions" else "owner_id")

    def _check_owners(self, rows: list[Parsed], known: Collection[str]) -> None:
        """A new record goes to nobody beyond the actor's reach; nor does the customer that is made for it."""
        for row in rows:
            owner_id = row.values.get("owner_id")
            if owner_id is not None and row.key not in known and not self._actor.may_see_owner(owner_id):
                self._complain(row, "owner", Wrong("out_of_reach", "is outside your team"))

    async def make_members(self, tx: Tx) -> None:
        """Writes the members that rows name and that were not there, and tells of them."""
        made = self.new_members
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

    async def _products(self, tx: Tx, rows: list[Parsed]) -> None:
        reference, found = self._mapping.product, self._found["product"]
        unknown = self._unknown("product", rows)
        if unknown and reference is not None:
            names = [named.name.lower() for named, _ in unknown.values() if named.name]
            known = await tx.rows(PRODUCTS, source=self._mapping.source, keys=list(unknown), names=names)
            for key, (named, row) in unknown.items():
                match = _match(named, known, "product")
                if isinstance(match, Wrong):
                    found.fresh[key] = match
                elif match is not None:
                    found.fresh[key] = plain(match["id"])
                elif reference.missing == "create":
                    made = Made(new_id(), key, {"name": named.name or key}, None, row)
                    self.new_products.append(made)
                    found.make(key, made.id)
                elif reference.missing == "refuse":
                    found.fresh[key] = Wrong("unknown_reference", f"“{key}” is no product")
        self._assign(rows, "product", "product_id")

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

    def _check_customers(self, rows: list[Parsed], of_customers: dict[UUID, UUID]) -> None:
        """An interaction counts for an opportunity of its own customer."""
        for row in rows:
            opportunity_id, customer_id = row.values.get("opportunity_id"), row.values.get("customer_id")
            if opportunity_id is not None and customer_id is not None and of_customers[opportunity_id] != customer_id:
                self._complain(row, "opportunity", Wrong("other_customer", "belongs to another customer"))

    async def _contacts(self, tx: Tx, rows: list[Parsed]) -> None:
        """Who took part: contacts of the row's own customer, which is within reach."""
        reference = self._mapping.contacts
        keys = {key for row in rows for key in row.contacts}
        if reference is None or not keys:
            return
        source = reference.source or self._mapping.source
        found = {row["external_id"]: row for row in await tx.rows(CONTACTS, source=source, keys=list(keys))}
        for row in rows:
            row.contact_ids = []
            for key in row.contacts:
                match = found.get(key)
                known = match is not None and match["deleted_at"] is None
                if match is not None and known and match["customer_id"] == row.values.get("customer_id"):
                    row.contact_ids.append(plain(match["id"]))
                elif reference.missing == "refuse":
                    words = "is a contact of another customer" if known else "is no contact"
                    code = "other_customer" if known else "unknown_reference"
                    self._complain(row, "contacts", Wrong(code, f"“{key[:80]}” {words}"))

    async def _customers(self, tx: Tx, rows: list[Parsed]) -> None:
        reference, found = self._mapping.customer, self._found["customer"]
        if reference is None:
            return
        for row in rows:
            if row.references.get("customer") is None and not row.errors:
                if reference.empty == "placeholder":
                    name = reference.placeholder_name.replace("{external_id}", row.key)[:200]
                    row.references["customer"] = Named(f"{_PLACEHOLDER}{row.key}"[:200], name)
                else:
                    self._complain(row, "customer", Wrong("required", "names no customer"))
        unknown = self._unknown("customer", rows)
        if unknown:
            keys = {key: sort_key(named.name) for key, (named, _) in unknown.items() if named.name}
            # Only what has no id in the source is looked for by name.
            by_names = {keys[key] for key, (named, _) in unknown.items() if named.external_id is None and named.name}
            known = await tx.rows(CUSTOMERS, source=self._mapping.source, keys=list(unknown), sort_keys=list(by_names))
            by_key = {row["external_id"]: row for row in known if row["external_id"] is not None}
            by_name: dict[str, dict[UUID, Row]] = {}
            seen = await within(tx, self._actor, customers, (row["id"] for row in known))
            for each in known:
                if each["external_id"] is None and each["id"] in seen:
                    by_name.setdefault(each["name"].casefold(), {})[each["id"]] = each
            for key, (named, row) in unknown.items():
                match = by_key.get(key)
                if match is not None and match["id"] not in seen:
                    found.fresh[key] = _out_of_reach(key, "a customer")
                    continue
                outcome = self._customer(key, named, row, match, by_name, keys.get(key))
                if outcome is not None:
                    found.fresh[key] = outcome
                    if self.new_customers and self.new_customers[-1].id == outcome:
                        found.made.add(key)
        self._assign(rows, "customer", "customer_id")

    def _customer(
        self,
        key: str,
        named: Named,
        row: Parsed,
        match: Row | None,
        by_name: dict[str, dict[UUID, Row]],
        sorting: str | None,
    ) -> UUID | Wrong | None:
        if match is not None:
            gone = match["deleted_at"] is not None
            return Wrong("deleted_reference", f"“{key}” is a deleted customer") if gone else plain(match["id"])
        alike = by_name.get(named.name.casefold(), {}) if named.name and named.external_id is None else {}
        if len(alike) > 1:
            return Wrong("ambiguous_reference", f"“{key}” is the name of {len(alike)} customers; give external ids")
        if alike:
            return plain(next(iter(alike)))
        reference = self._mapping.customer
        if reference is None or reference.missing == "refuse" or not named.name:
            return Wrong("unknown_reference", f"“{key}” is no customer")
        if row.errors:
            return None
        owner_id = row.values.get("owner_id") if self._owned else None
        values = {"name": named.name, "sort_key": sorting, "owner_id": owner_id}
        made = Made(new_id(), key, values, row.values.get("occurred_at"), row)
        self.new_customers.append(made)
        return made.id

    def _complain(self, row: Parsed, kind: str, error: Wrong) -> None:
        row.errors.append(wrong(self._pointers[kind], error.code, f"{kind} {error.message}."))

    def _assign(self, rows: list[Parsed], kind: str, column: str) -> None:
        known, fresh = self._found[kind].known, self._found[kind].fresh
        for row in rows:
            named = row.references.get(kind)
            outcome: UUID | Wrong | None = None
            if named is not None:
                key = named.key or ""
                outcome = fresh.get(key) or known.get(key)
            if outcome.__class__ is Wrong:
                self._complain(row, kind, outcome)
            else:
                row.values[column] = outcome


def _out_of_reach(key: str | None, what: str) -> Wrong:
    return Wrong("out_of_reach", f"“{key}” is {what} of somebody outside your team")


def _match(named: Named, known: list[Row], what: str) -> Row | Wrong | None:
    """The record that is named: by its id in the source, else by e-mail, else by name."""
    key = named.key
    by_id = [row for row in known if row["external_id"] is not None and row["external_id"] == key]
    if by_id:
        gone = by_id[0].get("deleted_at") is not None
        return Wrong("deleted_reference", f"“{key}” is a deleted {what}") if gone else by_id[0]
    for name, value in (("email", named.email), ("name", named.name)):
        if not value:
            continue
        alike = [row for row in known if row.get(name) == value.lower()]
        if len(alike) > 1:
            return Wrong("ambiguous_reference", f"“{value}” is more than one {what}; give external ids")
        if alike:
            return alike[0]
    return None
