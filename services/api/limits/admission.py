"""Who is let in: callers under their limits; and from addresses that were refused too often, one at a time.

What a response says of limits goes out with it, whatever it is: `RateLimit-Policy` and `RateLimit`
(draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final
from uuid import UUID

from starlette.types import Scope

from services.api.errors import TooManyRequests
from services.api.limits.buckets import Bucket, Limiter
from services.api.limits.policies import Policies, Policy
from services.api.settings import ApiSettings
from shared.tenancy import Principal

# What opens something else is worth more care than what is read or written.
_TICKETS: Final = ("/v1/stream-tickets",)
# How many keys of one address wait to be looked up, where that address was refused too often.
_MOST_WAITING: Final = 8
_LONGEST_HOST: Final = 64


class Limits:
    """The limits of one process."""

    def __init__(self, limiter: Limiter, policies: Policies) -> None:
        self._limiter = limiter
        self._policies = policies
        # The buckets of each caller in the present window.
        self._known: dict[UUID, list[Bucket]] = {}
        self._ends_at = 0.0

    @staticmethod
    def of(settings: ApiSettings) -> Limits:
        """The limits that are set; nothing is connected to before somebody comes near one."""
        return Limits(Limiter(settings.redis_url), Policies.of(settings))

    async def close(self) -> None:
        await self._limiter.close()

    async def admit(self, scope: Scope, principal: Principal) -> None:
        """Counts a request of a caller, once; raises TooManyRequests."""
        if "sixteen.admitted" in scope:
            return
        scope["sixteen.admitted"] = True
        caller = principal.key_id or principal.member_id
        if scope["path"] in _TICKETS and scope["method"] == "POST":
            tickets = self._with(self._policies.tickets, caller, principal.workspace_id)
            await self._take(scope, [*tickets, *self._of(caller, principal.workspace_id)])
            return
        if self._limiter.now() >= self._ends_at:
            self._known.clear()
        buckets = self._known.get(caller)
        if buckets is None:
            buckets = self._known[caller] = self._of(caller, principal.workspace_id)
            self._ends_at = buckets[0].ends_at if buckets else self._ends_at
        for place, bucket in enumerate(buckets):
            if not self._limiter.take_unasked(bucket):
                await self._take(scope, buckets, place)
                return
        self._tell(scope, buckets)

    def _of(self, caller: UUID, workspace_id: UUID) -> list[Bucket]:
        """The caller's own first: what one of them has too much of is not taken from the others."""
        of_caller = self._with(self._policies.key, caller, workspace_id)
        return [*of_caller, *self._with(self._policies.workspace, workspace_id, workspace_id)]

    def _with(self, policy: Policy, identity: UUID, workspace_id: UUID) -> list[Bucket]:
        return [self._limiter.bucket(policy, identity, workspace_id)] if policy.quota else []

    async def begin_login(self, scope: Scope) -> None:
        """Counts a request to log in by its address; raises TooManyRequests."""
        await self._take(scope, self._by_address(self._policies.logins, scope))

    @asynccontextmanager
    async def looking_up(self, scope: Scope) -> AsyncIterator[None]:
        """Around the look-up of a key or token that has opened nothing here before.

        From an address that was refused too often they are looked up one at a time: a good key behind the same proxy
        is let in, and guesses take no more than one connection. Raises TooManyRequests where many wait already.
        """
        for bucket in self._by_address(self._policies.failures, scope):
            if bucket.left > 0:
                continue
            if bucket.waiting >= _MOST_WAITING:
                self._tell(scope, [bucket])
                raise self._too_many(bucket)
            bucket.waiting += 1
            try:
                async with bucket.lock:
                    yield
            finally:
                bucket.waiting -= 1
            return
        yield

    async def note_failure(self, scope: Scope) -> None:
        """Counts a key or token that was refused; raises TooManyRequests in the place of the refusal."""
        await self._take(scope, self._by_address(self._policies.failures, scope))

    def _by_address(self, policy: Policy, scope: Scope) -> list[Bucket]:
        return [self._limiter.bucket(policy, address_of(scope))] if policy.quota else []

    async def _take(self, scope: Scope, buckets: list[Bucket], first: int = 0) -> None:
        """Takes from each bucket, from the `first` on: those before it have been taken from."""
        over = None
        for bucket in buckets[first:]:
            if not await self._limiter.take(bucket):
                over = bucket
                break
        self._tell(scope, buckets)
        if over is not None:
            raise self._too_many(over)

    def _tell(self, scope: Scope, buckets: list[Bucket]) -> None:
        if not buckets:
            return
        seconds = self._limiter.seconds_left(buckets[0])
        told = [b"%b;r=%d;t=%d" % (each.policy.label, max(each.left, 0), seconds) for each in buckets]
        policies = b", ".join([each.policy.words for each in buckets])
        headers: list[Any] = scope.get("sixteen.headers", [])
        scope["sixteen.headers"] = [*headers, (b"ratelimit-policy", policies), (b"ratelimit", b", ".join(told))]

    def _too_many(self, bucket: Bucket) -> TooManyRequests:
        seconds, policy = self._limiter.seconds_left(bucket), bucket.policy
        return TooManyRequests(
            f"The limit “{policy.name}” of {policy.quota} a minute is used up; it is whole again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
            violated_policies=[policy.name],
        )


def address_of(scope: Scope) -> str:
    """Whose address this is: of IPv6, the /64 that one customer has."""
    client = scope.get("client")
    host = client[0] if client else "-"
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)[:_LONGEST_HOST]
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((int(address) >> 64 << 64, 64)).network_address)
    return host
