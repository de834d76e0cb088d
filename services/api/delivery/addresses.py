"""Where a webhook may go: public addresses only, whatever way they are written.

The decision is made on the address that is connected to, after the name was resolved; a check of the name alone is
only a courtesy at the time of saving.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import structlog

log = structlog.get_logger(__name__)

Address: TypeAlias = IPv4Address | IPv6Address

_ALWAYS: Final = frozenset({80, 443})
_FIRST_FREE_PORT: Final = 1024
# Special-purpose registries of IANA, and what leads into IPv4 from IPv6.
_DENIED: Final[tuple[IPv4Network | IPv6Network, ...]] = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32",
        "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


class Refused(Exception):
    """Nothing is sent there; the text says why, in words for whoever set the endpoint up."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What this installation allows. `loopback` and `http` are for receivers on the same machine."""

    loopback: bool = False
    http: bool = False
    ports: frozenset[int] = frozenset()

    def allows(self, address: Address) -> bool:
        address = canonical(address)
        return is_public(address) or (self.loopback and address.is_loopback)

    def check_port(self, port: int) -> None:
        """Raises Refused. 80 and 443 are open, others where they are listed; on one machine all from 1024 up."""
        if port in _ALWAYS or port in self.ports or (self.loopback and port >= _FIRST_FREE_PORT):
            return
        raise Refused(f"Port {port} is not open to webhooks here.")

    def check_url(self, url: str) -> None:
        """Raises Refused for what is wrong with `url` before its name is resolved."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refused("This is no URL.") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Refused("Give a whole URL that begins with https://.")
        if parts.username is not None or parts.password is not None:
            raise Refused("The URL must not carry a name or a password: use a header.")
        literal = literal_address(parts.hostname)
        local = self.loopback and (parts.hostname == "localhost" or (literal is not None and literal.is_loopback))
        if parts.scheme == "http" and not (self.http or local):
            raise Refused("Only https:// is delivered to.")
        self.check_port(port or (443 if parts.scheme == "https" else 80))
        if literal is not None and not self.allows(literal):
            raise Refused(f"{parts.hostname} is not a public address.")

    def check_all(self, host: str, found: Sequence[Address]) -> Address:
        """The address to connect to. Raises Refused where any of them is not public: a name is trusted whole."""
        if not found:
            raise Refused(f"{host} has no address.")
        for address in found:
            if not self.allows(address):
                # The text is shown to whoever set the endpoint up: what our resolver knows is not theirs to see.
                log.info("address_refused", host=host, address=str(address))
                raise Refused(f"{host} leads to an address that is not public.")
        return found[0]


def canonical(address: Address) -> Address:
    """The IPv4 address that an IPv6 one only wraps; scopes are dropped."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return IPv6Address(int(address))
    return address


def is_public(address: Address) -> bool:
    """Whether it is reachable from anywhere and belongs to nobody in particular here."""
    address = canonical(address)
    if not address.is_global or address.is_multicast:
        return False
    return not any(address.version == each.version and address in each for each in _DENIED)


def literal_address(host: str) -> Address | None:
    """The address that `host` writes out, in any way the system's own resolver takes (0x7f.1, 2130706433, ::1%eth0).

    None where it is a name.
    """
    bare = host.strip("[]").partition("%")[0].rstrip(".")
    with suppress(ValueError):
        return canonical(ip_address(bare))
    # What inet_aton takes besides is a number at its start; a name is none, and never reaches the resolver here.
    if not bare[:1].isdigit():
        return None
    try:
        return IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None
