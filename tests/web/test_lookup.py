"""A book looked up by its ISBN at a provider: a good one, one that knows nothing, and every bad one."""

import asyncio
import html
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import pytest
from pydantic import ValidationError

from app.core.config import Settings
from tests.conftest import Person
from tests.web.test_edge import see

pytestmark = pytest.mark.anyio

ISBN: Final = "9780306406157"
RECORD: Final = """<?xml version="1.0"?><zs:searchRetrieveResponse xmlns:zs="http://www.loc.gov/zing/srw/">
<zs:numberOfRecords>2</zs:numberOfRecords><zs:records>%s</zs:records></zs:searchRetrieveResponse>"""
ONE: Final = """<zs:record><zs:recordSchema>marcxml</zs:recordSchema><zs:recordData>
<record xmlns="http://www.loc.gov/MARC21/slim"><leader>00000nam a2200000 a 4500</leader>
<datafield tag="020" ind1=" " ind2=" "><subfield code="a">%s (pbk.)</subfield></datafield>
<datafield tag="100" ind1="1" ind2=" "><subfield code="a">Lamp, Ida,</subfield></datafield>
<datafield tag="245" ind1="1" ind2="0"><subfield code="a">Light &lt;b&gt;at&lt;/b&gt; night /</subfield></datafield>
</record></zs:recordData><zs:recordPosition>1</zs:recordPosition></zs:record>"""
KNOWN: Final = RECORD % (ONE % "9783161484100" + ONE % "0-306-40615-2")
BOMB: Final = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><record><leader>&b;</leader></record>'


def answer(body: str, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *headers]
    return "\r\n".join([*head, "", body]).encode()


ANSWERS: Final = {
    "known": answer(KNOWN), "unknown": answer(RECORD % ""), "another": answer(RECORD % (ONE % "9783161484100")),
    "broken": answer("<record><leader>"), "bomb": answer(BOMB), "error": answer("no", "500 Oh"),
    "moved": answer("", "302 Found", "Location: http://127.0.0.1:1/"), "large": answer("x" * 300_000),
    "cut": answer(KNOWN)[:-200], "noise": b"\x00\x01 not HTTP\r\n\r\n",
    "coded": answer("x", "200 OK", "Content-Encoding: gzip"),
}  # fmt: skip
BAD: Final = [(kind,) for kind in (*ANSWERS, "trickle") if kind not in {"known", "unknown", "another"}]


class Provider:
    """An SRU server that answers by the first part of the path; `asked` holds what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            target = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
            self.asked.append(target)
            kind = target.split("/")[1]
            while kind == "trickle":
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)
            writer.write(ANSWERS[kind])
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def urls(self, *kinds: str) -> str:
        return " ".join(f"http://127.0.0.1:{self.port}/{kind}/sru?query=bath.isbn={{isbn}}" for kind in kinds)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*(task for task in others if "serve" in repr(task.get_coro())))


@pytest.fixture
def kinds(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(getattr(request, "param", ("known",)))


@pytest.fixture
async def settings(settings: Settings, provider: Provider, kinds: tuple[str, ...]) -> Settings:
    return settings.model_copy(update={"isbn_lookup_urls": provider.urls(*kinds)})


async def ask(librarian: Person, isbn: str = ISBN) -> tuple[int, str]:
    page = await see(librarian.client, f"/cataloguing/new?isbn={isbn}")
    return page.status_code, page.text


@pytest.mark.parametrize("kinds", [("known",), ("unknown", "known"), ("broken", "known")], indirect=True)
async def test_the_form_is_filled_by_the_first_provider_that_knows_the_book(
    librarian: Person, provider: Provider, kinds: tuple[str, ...]
) -> None:
    status, text = await ask(librarian, "0-306-40615-2")
    assert status == 200
    assert "Filled in from 127.0.0.1." in text
    [title] = re.findall(r'id="title"[^>]* value="([^"]*)"', text)
    assert html.unescape(title) == "Light <b>at</b> night"
    assert "<b>at</b>" not in text
    assert "Lamp, Ida" in text
    assert provider.asked == [f"/{kind}/sru?query=bath.isbn={ISBN}" for kind in kinds]
    books = (await librarian.client.get("/api/v1/books")).json()["items"]
    assert books == []  # nothing is saved before the librarian says so


@pytest.mark.parametrize("kinds", [("unknown",), ("another",), ("unknown", "another")], indirect=True)
async def test_what_no_provider_knows_is_said(librarian: Person) -> None:
    status, text = await ask(librarian)
    assert status == 200
    assert "None of the providers knows this ISBN." in text
    assert f">{ISBN}</textarea>" in text


@pytest.mark.parametrize("kinds", BAD, indirect=True)
async def test_a_bad_provider_is_told_and_the_form_is_there(
    librarian: Person, provider: Provider, kinds: tuple[str, ...]
) -> None:
    status, text = await ask(librarian)
    assert status == 200, kinds
    assert "127.0.0.1 gave no usable answer; type the book in" in text
    assert f">{ISBN}</textarea>" in text
    assert len(provider.asked) == 1


async def test_nothing_but_an_isbn_is_asked_for_and_only_by_staff(
    librarian: Person, reader: Person, provider: Provider
) -> None:
    for isbn in ("", "no%20isbn", "9780306406158", "..%2F..%2Fadmin", "%0d%0aX:1"):
        assert (await ask(librarian, isbn))[0] == 200
    assert (await ask(reader))[0] == 403
    assert provider.asked == []


@pytest.mark.parametrize(
    "urls",
    [
        "http://other.test/{isbn}",
        "https://a.test/",
        "file:///{isbn}",
        "https://a.test/{isbn} http://localhost.evil.test/{isbn}",
    ],
)
def test_addresses_that_send_books_readable_or_ask_nothing_are_refused(urls: str) -> None:
    with pytest.raises(ValidationError, match="must name addresses such as https://sru"):
        Settings(_env_file=None, isbn_lookup_urls=urls)
