"""The head of an answer waits for its body where the server takes both in one piece, and nowhere else."""

from typing import Any

import pytest

from app.core.exchange import READY, Exchange, Message
from app.core.metrics import UNMATCHED

pytestmark = pytest.mark.anyio

BODY = b'{"title": "The Lamp"}'
LENGTH = (b"content-length", b"21")


class Server:
    """What an exchange hands to its server: whole answers, and messages."""

    def __init__(self) -> None:
        self.wholes: list[tuple[int, bytes, bytes]] = []
        self.messages: list[Message] = []

    async def at_once(self, status: int, head: bytes, body: bytes) -> None:
        self.wholes.append((status, head, body))

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"x" * 100, "more_body": False}

    def exchange(self, method: str = "GET") -> Exchange:
        scope: dict[str, Any] = {
            "type": "http", "method": method, "path": UNMATCHED, "headers": [], "extensions": {READY: self.at_once},
        }  # fmt: skip
        return Exchange(scope, self.receive, self.send)


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(piece: bytes = BODY, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": more}


async def test_head_and_body_of_known_length_leave_in_one_piece() -> None:
    server = Server()
    exchange = server.exchange()
    await exchange.send(start(LENGTH, status=201))
    assert not server.wholes
    await exchange.send(body())
    [(status, head, sent)] = server.wholes
    assert (status, sent, exchange.status, server.messages) == (201, BODY, 201, [])
    assert head.startswith(b"content-length: 21\r\n")
    assert b"x-content-type-options: nosniff\r\n" in head
    assert head.endswith(f"x-request-id: {exchange.request_id}\r\n".encode())


async def test_head_answers_keep_their_length_and_no_body() -> None:
    server = Server()
    exchange = server.exchange("HEAD")
    await exchange.send(start(LENGTH))
    await exchange.send(body())
    [(_, head, sent)] = server.wholes
    assert (b"content-length: 21\r\n" in head, sent) == (True, b"")


async def test_a_stream_begins_before_its_first_piece() -> None:
    server = Server()
    await server.exchange().send(start((b"content-type", b"text/event-stream")))
    assert [message["type"] for message in server.messages] == ["http.response.start"]


@pytest.mark.parametrize("piece", [body(BODY[:5], more=True), body(BODY[:5])], ids=["more follows", "too short"])
async def test_what_is_not_whole_goes_piece_by_piece_and_the_server_judges_it(piece: Message) -> None:
    server = Server()
    exchange = server.exchange()
    await exchange.send(start(LENGTH))
    await exchange.send(piece)
    await exchange.send(body(BODY[5:]))
    assert server.wholes == []
    assert [message.get("body") for message in server.messages] == [None, BODY[:5], BODY[5:]]


async def test_who_fails_behind_his_head_is_told_of_instead_of_cut_off() -> None:
    server = Server()
    exchange = server.exchange()
    await exchange.send(start(LENGTH))
    await exchange.fail(RuntimeError("behind the head"))
    [(status, head, sent)] = server.wholes
    assert (status, server.messages) == (500, [])
    assert b"application/problem+json" in head
    assert b'"code": "internal_error"' in sent


async def test_a_body_too_large_is_answered_once_and_closes_the_connection() -> None:
    server = Server()
    exchange = server.exchange("POST")
    exchange.limit_body(10)
    await exchange.send(start(LENGTH))
    with pytest.raises(Exception, match="larger"):
        await exchange.receive()
    await exchange.send(body())
    await exchange.send(body())
    assert server.wholes == []
    assert [message.get("status") for message in server.messages] == [413, None]
    assert (b"connection", b"close") in server.messages[0]["headers"]
