"""The limits there are, each a number of requests in a window of a minute.

Windows begin with the minute for everybody, so that every process knows without asking when one ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.api.settings import ApiSettings

WINDOW_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit. `quota` 0 is no limit. A strict one is counted exactly over all processes, at a round trip each."""

    name: str
    quota: int
    strict: bool = False
    # Its name in `RateLimit`, and the whole of it in `RateLimit-Policy`.
    label: bytes = field(init=False)
    words: bytes = field(init=False)
    # What a process lets through before it tells Redis, and what it must leave to do so without asking.
    chunk: int = field(init=False)
    reserve: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", f'"{self.name}"'.encode())
        object.__setattr__(self, "words", f'"{self.name}";q={self.quota};w={WINDOW_SECONDS}'.encode())
        object.__setattr__(self, "chunk", max(1, self.quota // 100))
        object.__setattr__(self, "reserve", self.quota if self.strict else max(1, self.quota // 10))


@dataclass(frozen=True, slots=True)
class Policies:
    """All limits of an installation."""

    # Of a workspace, all its callers together.
    workspace: Policy
    # Of one key, or of one login.
    key: Policy
    # Of one key, for what opens something else.
    tickets: Policy
    # Of an address: keys and tokens that were refused; and logins, which nobody has let in yet.
    failures: Policy
    logins: Policy

    @staticmethod
    def of(settings: ApiSettings) -> Policies:
        return Policies(
            workspace=Policy("workspace", settings.rate_limit_workspace),
            key=Policy("key", settings.rate_limit_key),
            tickets=Policy("tickets", settings.rate_limit_tickets, strict=True),
            failures=Policy("failures", settings.rate_limit_failures, strict=True),
            logins=Policy("logins", settings.rate_limit_logins, strict=True),
        )
