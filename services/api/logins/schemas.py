"""Wire types of logins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Strict

Uri = Annotated[str, Field(min_length=1, max_length=2000)]
Opaque = Annotated[str, Field(min_length=1, max_length=4000)]
_WORKSPACE = "Which workspace to enter; may be left out where the identity provider or the person has only one."


class LoginStart(Strict):
    """The beginning of a login."""

    redirect_uri: Uri = Field(
        description="Where the identity provider sends the person back to: one of those set for it.",
        examples=["https://app.example.com/signed-in"],
    )
    provider: str | None = Field(
        default=None, max_length=40, description="Name of the identity provider; may be left out where there is one."
    )
    workspace_id: UUID | None = Field(default=None, description=_WORKSPACE)


class LoginStarted(BaseModel):
    """Where to send the person, and what to keep until they are back."""

    authorization_url: str = Field(description="Open this in the person's browser.")
    state: str = Field(description="Comes back as `state` beside the `code`.")
    slip: str = Field(
        description="Keep it in the page (sessionStorage) and send it with the code; it is nobody else's business."
    )
    expires_at: datetime = Field(description="Until when the login can be completed.")


class LoginCompletion(Strict):
    """What the identity provider sent back, and what the page had kept."""

    code: Opaque
    state: Opaque
    slip: Opaque


class LoginRefresh(Strict):
    """A refresh token, good once."""

    refresh_token: Opaque


class LoginRevocation(Strict):
    """The token to give back."""

    token: Annotated[str, Field(min_length=1, max_length=16_384)] = Field(
        description="An access or refresh token of ours ends its login; one of the identity provider's ends itself."
    )


class LoginTokens(BaseModel):
    """What a login opens the api with."""

    access_token: str = Field(description="For `Authorization: Bearer`.")
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds until the access token must be refreshed.")
    refresh_token: str = Field(description="Good once, for the next pair of tokens.")
    refresh_expires_at: datetime = Field(description="Until when the refresh token is good.")
    workspace_id: UUID
    member_id: UUID


class LoginOption(BaseModel):
    """An identity provider that people may log in with."""

    name: str = Field(description="For `provider` of a login.")
    issuer: str
    client_id: str = Field(description="For pages that log in with the identity provider by themselves.")
    scopes: str


class LoginOptions(BaseModel):
    """How people may log in here."""

    providers: list[LoginOption]
