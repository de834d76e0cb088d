"""The head of a request, which comes before anybody is known: bounded in bytes and in headers, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from services.api.protocol import MOST_BYTES, MOST_HEADERS, HeadLimits

ROW = b"GET /x HTTP/1.1\r\nHost: sixteen.test\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says how many bytes of a body have come."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(echo, http=HeadLimits, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def answer(port: int, pieces: Iterable[bytes]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer, once the server has closed or the body is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in head[1:] if each)}
            body = await reader.readexactly(int(headers["content-length"]))
            if headers.get("connection") == "close":
                assert await reader.read() == b""
            return int(head[0].split()[1]), headers, body
        finally:
            writer.close()


def headers_of(count: int, length: int = 1) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"v" * length) for number in range(count))


@pytest.mark.parametrize(
    "pieces",
    [
        [ROW + headers_of(MOST_HEADERS) + b"\r\n"],
        [ROW + headers_of(20, MOST_BYTES // 20) + b"\r\n"],
        [ROW + b"X: " + b"v" * MOST_BYTES + b"\r\n\r\n"],
        [ROW + b"X: ", *[b"v" * 10_000] * 300],
        [ROW + b"x" * 1_000_000],
        [b"GET /" + b"x" * MOST_BYTES + b" HTTP/1.1\r\n\r\n"],
        [b"GET /?", *[b"x" * 10_000] * 300],
        [ROW, *[b"X: %b\r\n" % (b"v" * 1000)] * 1000],
    ],
    ids=["many", "large together", "a large one", "one without end", "a name", "an address", "an endless one", "drops"],
)
async def test_a_head_over_its_limit_is_431_and_ends_the_connection(port: int, pieces: list[bytes]) -> None:
    status, headers, body = await answer(port, pieces)
    problem = orjson.loads(body)
    assert (status, problem["status"], problem["code"]) == (431, 431, "headers_too_large")
    assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")
    assert problem["request_id"] == headers["x-request-id"] != ""
    assert headers["cache-control"] == "no-store"


async def test_what_is_no_request_is_a_problem_too(port: int) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for sent in (b"what is this\r\n\r\n", b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", chunked + b"no length\r\n"):
        status, headers, body = await answer(port, [sent])
        assert (status, orjson.loads(body)["code"]) == (400, "bad_request"), sent
        assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")


@pytest.mark.parametrize("length", [60_000, 20])
async def test_a_head_within_its_limits_is_let_through(port: int, length: int) -> None:
    head = ROW + headers_of(MOST_HEADERS - 2) + b"X: " + b"v" * length + b"\r\n\r\n"
    assert (await answer(port, [head]))[0] == 200
    assert (await answer(port, [head[n : n + 700] for n in range(0, len(head), 700)]))[0] == 200
    assert (await answer(port, [b"GET /?" + b"x" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n"]))[0] == 200


async def test_bodies_and_requests_before_it_count_for_nothing(port: int) -> None:
    """A body of any size, and then many requests of one connection in one piece."""
    size = 5 * MOST_BYTES
    post = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        writer.write(post + (ROW + headers_of(50, 200) + b"\r\n") * 20)
        said = b""
        while said.count(b"HTTP/1.1 ") < 21:
            piece = await reader.read(65_536)
            assert piece, said
            said += piece
        writer.close()
    assert said.count(b"HTTP/1.1 200 ") == 21
    assert str(size).encode() in said
