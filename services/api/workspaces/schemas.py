"""Wire types of the workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.api.fields import Known, Name, Strict
from shared.catalog.labels import LANGUAGES, Label

_LOCALES = {"en": Label("English", "英语"), "zh-Hans": Label("Simplified Chinese", "简体中文")}
assert tuple(_LOCALES) == LANGUAGES  # noqa: S101 - the product speaks these and no others


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("must be a time zone of the IANA database, such as Asia/Shanghai")
    return name


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]
Locale = Annotated[str, Known(_LOCALES)]


class WorkspacePatch(Strict):
    """Changes to the workspace, as JSON merge-patch. Its currency stays: amounts were judged in it."""

    name: Name | None = None
    time_zone: TimeZone | None = Field(default=None, description="Days begin and end by it.")
    locale: Locale | None = Field(default=None, description="The language of what is not asked for in one.")
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Workspace(BaseModel):
    """A tenant of the installation."""

    id: UUID
    name: str
    currency: str
    time_zone: str
    locale: str
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    recorded_at: datetime
    updated_at: datetime
