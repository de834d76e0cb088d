"""Which addresses are public, however they are written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from services.api.delivery.addresses import Refused, Rules, is_public, literal_address

PRIVATE = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.1.", "[::1]",
        "::ffff:7f00:1", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_every_way_to_write_loopback(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert address.is_loopback
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    with pytest.raises(Refused):
        Rules().check_url(f"https://{name}/hook")


@pytest.mark.parametrize("host", ["example.com", "a.b", "xn--fiqs8s", "1a.example", "localhost", "3com.example"])
def test_names_are_no_addresses(host: str) -> None:
    assert literal_address(host) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com/", "https://"), ("example.com", "https://"), ("https://", "https://"),
        ("http://example.com/", "https://"), ("https://me:secret@example.com/", "password"),
        ("https://example.com:22/", "22"), ("https://example.com:8443/", "8443"),
        ("https://example.com:99999/", "URL"),
        ("https://10.1.2.3/", "10.1.2.3"), ("https://[fe80::1%25eth0]/", "fe80"),
        ("https://169.254.169.254/", "public"),
    ],
)  # fmt: skip
def test_urls_that_are_refused_say_why(url: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        Rules().check_url(url)


def test_what_an_installation_may_allow() -> None:
    Rules().check_url("https://example.com/a?b=c")
    Rules(http=True).check_url("http://example.com/")
    Rules(ports=frozenset({8443})).check_url("https://example.com:8443/")
    here = Rules(loopback=True)
    here.check_url("http://127.0.0.1:9000/")
    here.check_url("http://localhost:9000/")
    for url in ("http://127.0.0.1:25/", "http://10.0.0.1:9000/", "http://example.com/"):
        with pytest.raises(Refused):
            here.check_url(url)


def test_a_name_is_trusted_whole() -> None:
    public, private = ip_address("8.8.8.8"), ip_address("10.0.0.1")
    assert Rules().check_all("a.example", [public]) == public
    for found in ([public, private], [private, public], []):
        with pytest.raises(Refused, match=r"a\.example"):
            Rules().check_all("a.example", found)
