"""Names that a workspace gives in its users' languages."""

from __future__ import annotations

from pydantic import Field

from services.api.fields import Name, Strict


class LocalizedName(Strict):
    """A name in English and, where there is one, in simplified Chinese."""

    en: Name
    zh_hans: Name | None = Field(default=None, description="Simplified Chinese (zh-Hans).")


def localized(en: str, zh_hans: str | None) -> dict[str, str | None]:
    """The JSON of a `LocalizedName`."""
    return {"en": en, "zh_hans": zh_hans}
