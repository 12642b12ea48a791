"""Refusals in the reader's language: his own setting counts first, then the cookie, then what the browser asks for."""

import httpx2
import pytest

from tests.conftest import Person
from tests.integration.api.desk import API, Desk, book

pytestmark = pytest.mark.anyio

ENGLISH, RUSSIAN = "You have booked this book already.", "Вы уже забронировали эту книгу."


async def test_a_refusal_is_said_in_the_language_that_the_reader_has_set(librarian: Person, reader: Person) -> None:
    book_id = await Desk(librarian).book("3001")
    await book(reader, book_id)
    assert (await book(reader, book_id)).json()["detail"] == ENGLISH
    changed = await reader.client.patch(f"{API}/auth/me", json={"locale": "ru"})
    assert changed.status_code == 200, changed.text
    again = await book(reader, book_id)
    assert (again.json()["code"], again.json()["detail"]) == ("already_booked", RUSSIAN)
    assert again.headers["content-language"] == "ru"


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "ru-RU,ru;q=0.9,en;q=0.8"}, "ru"),
        ({"accept-language": "fi, de;q=0.5"}, "en"),
        ({"accept-language": "ru", "cookie": "language=en"}, "en"),
        ({"cookie": "language=tlh"}, "en"),
    ],
)
async def test_whoever_is_not_signed_in_is_answered_in_the_language_that_he_asks_for(
    client: httpx2.AsyncClient, headers: dict[str, str], language: str
) -> None:
    answer = await client.get(f"{API}/books/999999", headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-language"] == language
    assert answer.json()["detail"] == {"en": "There is no such book.", "ru": "Такой книги нет."}[language]


async def test_the_words_within_a_sentence_are_said_in_the_same_language(librarian: Person, reader: Person) -> None:
    desk = Desk(librarian)
    await desk.book("3001")
    await desk.lend("3001", reader)
    copy_id = (await desk.client.get(f"{API}/copies?barcode=3001")).json()["items"][0]["id"]
    body = {"status": "missing", "reason": "not there"}
    await desk.client.patch(f"{API}/auth/me", json={"locale": "ru"})
    answer = await desk.client.post(f"{API}/copies/{copy_id}/status", json=body)
    assert answer.json()["detail"] == "Экземпляр, который на руках, не может стать: не найден."
