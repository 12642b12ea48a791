"""Books over HTTP."""

import httpx2
import pytest

from tests.conftest import Person

pytestmark = pytest.mark.anyio

DUNE = {
    "title": "Dune",
    "contributors": [{"name": "Herbert, Frank", "role": "author"}],
    "year": 1965,
    "languages": ["eng"],
    "identifiers": [{"type": "isbn", "value": "0-441-17271-7"}],
    "subjects": ["Science fiction"],
}


async def test_a_book_that_was_added_is_found_by_the_next_request(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    created = await librarian.client.post("/api/v1/books", json=DUNE)
    assert created.status_code == 201, created.text
    book = created.json()
    assert created.headers["ETag"] == '"1"'
    assert book["identifiers"] == [
        {"type": "isbn", "value": "0-441-17271-7", "normalized": "9780441172719", "valid": True}
    ]
    for query in (
        "q=dune",
        "q=her",
        "q=9780441172719",
        "q=0441172717",
        "author=herbert frank",
        "subject=Science Fiction",
    ):
        found = (await client.get(f"/api/v1/books?{query}")).json()
        assert found["items"] == [book], query
    assert (await client.get(f"/api/v1/books/{book['id']}")).json() == book
