"""Members as they are read."""

from __future__ import annotations

from services.api.expand import FieldNames
from services.api.members.resource import MEMBERS
from services.api.members.schemas import Member, MemberFilters
from services.api.reads import readable


class MemberListParams(MemberFilters):
    """How to read a list of members."""

    fields: FieldNames | None = None


READ_MEMBERS = readable(MEMBERS, Member)
