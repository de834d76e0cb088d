"""The client of deliveries, against names that mean harm and receivers that do."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.api.delivery.addresses import Address, Rules
from services.api.delivery.client import Answer, Client
from shared.ids import new_id
from tests.delivery.receivers import Farm

HERE = ip_address("127.0.0.1")
ELSEWHERE = Rules(http=True, ports=frozenset(range(1024, 65536)))
SAME_MACHINE = Rules(loopback=True)


class Names:
    """A resolver that gives each answer of its list in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = [[ip_address(each) for each in answer] for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def client_of(rules: Rules, names: Names, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    client = Client(rules, names, context)
    yield client
    await client.close()


async def post(client: Client, url: str, seconds: float = 5) -> Answer:
    return await client.post(new_id(), url, {"webhook-id": "x"}, b"{}", seconds)


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["8.8.8.8", "10.0.0.1"],
        ["::1"],
        ["::ffff:7f00:1"],
        ["fe80::1"],
    ],
)
async def test_a_name_that_leads_inside_is_refused(farm: Farm, found: list[str]) -> None:
    async with client_of(ELSEWHERE, Names(found)) as client:
        answer = await post(client, f"http://hooks.example:{farm.port}/ok/a")
    assert (answer.outcome, answer.status) == ("refused", None)
    assert "hooks.example" in (answer.error or "")
    assert farm.connections == 0


async def test_a_name_that_changes_between_check_and_use(farm: Farm) -> None:
    """It is resolved once for a connection, so that there is no second answer to be fooled by."""
    names = Names(["127.0.0.1"], ["10.9.9.9"])
    async with client_of(SAME_MACHINE, names) as client:
        url = f"http://localhost:{farm.port}/ok/a"
        assert (await post(client, url)).outcome == "success"
        assert names.asked == ["localhost"]
        assert farm.received["/ok/a"][0].headers["host"] == f"localhost:{farm.port}"
        assert (await post(client, url)).outcome == "refused"
    assert len(farm.received["/ok/a"]) == 1


async def test_a_redirect_is_not_followed(farm: Farm) -> None:
    farm.location = farm.url("/ok/inside")
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"])) as client:
        answer = await post(client, farm.url("/redirect/a"))
    assert (answer.outcome, answer.status) == ("redirect", 302)
    assert not farm.counts["/ok/inside"]


async def test_proxies_of_the_environment_are_not_asked(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"])) as client:
        assert (await post(client, farm.url("/ok/a"))).outcome == "success"


@pytest.mark.parametrize("way", ["hang", "loris"])
async def test_the_whole_attempt_has_one_limit(farm: Farm, way: str) -> None:
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"])) as client:
        started = time.monotonic()
        answer = await post(client, farm.url(f"/{way}/a"), 0.5)
        assert answer.outcome == "timeout"
        assert answer.remote_ip == "127.0.0.1"
        assert time.monotonic() - started < 1.5


async def test_a_resolver_that_does_not_answer(farm: Farm) -> None:
    class Silent(Names):
        async def __call__(self, host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            raise AssertionError

    async with client_of(ELSEWHERE, Silent([])) as client:
        assert (await post(client, "http://hooks.example/", 0.3)).outcome == "timeout"


async def test_connections_are_kept_and_replaced(farm: Farm) -> None:
    key = new_id()
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"])) as client:
        for _ in range(5):
            assert (await client.post(key, farm.url("/ok/a"), {}, b"{}", 5)).outcome == "success"
        assert farm.connections == 1
        for _ in range(3):
            assert (await client.post(key, farm.url("/close/a"), {}, b"{}", 5)).outcome == "success"
        assert farm.counts["/close/a"] == 3
        answer = await client.post(key, farm.url("/big/a"), {}, b"{}", 5)
        assert (answer.outcome, len(answer.body)) == ("success", 20_000)
        assert (await client.post(key, farm.url("/ok/a"), {}, b"{}", 5)).outcome == "success"


async def test_tls_goes_to_the_checked_address_under_its_name(tmp_path: Path) -> None:
    """The certificate is that of the name, and is checked; one of another name fails."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    _certify("hooks.example", certificate, key)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    served.sni_callback = lambda _, name, __: asked.append(name)

    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_one, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"]), trusting) as client:
        good = await post(client, f"https://hooks.example:{port}/")
        assert (good.outcome, good.status, good.remote_ip) == ("success", 204, "127.0.0.1")
        assert asked == ["hooks.example"]
        assert (await post(client, f"https://other.example:{port}/")).outcome == "connection"
    async with client_of(SAME_MACHINE, Names(["127.0.0.1"])) as client:
        untrusted = await post(client, f"https://hooks.example:{port}/")
        assert untrusted.outcome == "connection"
        assert "certificate" in (untrusted.error or "").lower()
    server.close()


def _certify(name: str, certificate: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_file.write_bytes(private)
