"""Wire types of the catalog."""

from __future__ import annotations

from pydantic import BaseModel, Field

from services.api.processes.schemas import ProcessTemplateDocument


class CatalogEntry(BaseModel):
    """A code and what it is called."""

    code: str
    label: str


class CatalogError(CatalogEntry):
    """A kind of problem: its code, its HTTP status and what it means."""

    status: int


class CatalogRole(CatalogEntry):
    """A role and what it may do."""

    scopes: list[str]


class Catalog(BaseModel):
    """Every code that the api takes or gives, in the language asked for."""

    language: str = Field(description="en or zh-Hans, by Accept-Language.")
    enums: dict[str, list[CatalogEntry]] = Field(description="By name, such as `contact_levels`; in their order.")
    roles: list[CatalogRole]
    scopes: list[str]
    templates: list[ProcessTemplateDocument]
    errors: list[CatalogError]
