"""Search over HTTP: what is found, in which order, and what is answered to odd queries; the same on both databases."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.conftest import Person

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"


async def add(librarian: Person, title: str, **fields: Any) -> int:
    answer = await librarian.client.post(BOOKS, json={"title": title, **fields})
    assert answer.status_code == 201, answer.text
    book_id: int = answer.json()["id"]
    return book_id


async def find(client: httpx2.AsyncClient, q: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(BOOKS, params={"q": q, **query})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def titles(client: httpx2.AsyncClient, q: str, **query: Any) -> list[str]:
    return [book["title"] for book in (await find(client, q, **query))["items"]]


async def test_the_title_that_is_the_query_comes_first_then_titles_that_begin_with_it_then_the_rest(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    await add(librarian, "A life", subjects=["Dune"])
    await add(librarian, "Dune messiah")
    await add(librarian, "Children of Dune")
    await add(librarian, "Dune")
    await add(librarian, "Herbert, a biography", contributors=[{"name": "Dune, A."}])
    found = await titles(client, "dune")
    assert found[:3] == ["Dune", "Dune messiah", "Children of Dune"]
    assert set(found[3:]) == {"A life", "Herbert, a biography"}


async def test_the_exact_word_comes_before_its_other_forms(librarian: Person, client: httpx2.AsyncClient) -> None:
    await add(librarian, "On reading", subjects=["Libraries"])
    await add(librarian, "On reading", subjects=["Library"])
    for form in ("library", "libraries"):
        subjects = [book["subjects"][0].lower() for book in (await find(client, form))["items"]]
        assert subjects[0] == form
        assert len(subjects) == 2


async def test_russian_words_are_found_in_any_form_in_cyrillic_and_romanised_records(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    native = await add(librarian, "Всадник без головы", languages=["rus"])
    romanised = await add(librarian, "Investit︠s︡ionnai︠a︡ politika", languages=["rus"])
    for query in ("всадники", "ГОЛОВА", "без головы"):
        assert [book["id"] for book in (await find(client, query))["items"]] == [native], query
    for query in ("инвестиционной политике", "Investitsionnaia politika", "политика"):
        assert [book["id"] for book in (await find(client, query))["items"]] == [romanised], query


async def test_a_phrase_is_found_in_its_order_only_and_never_across_two_texts(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    await add(librarian, "War and peace", subtitle="a novel")
    await add(librarian, "Peace and war")
    assert await titles(client, '"war and peace"') == ["War and peace"]
    assert await titles(client, '"peace a novel"') == []
    assert len(await titles(client, "peace war")) == 2


async def test_original_script_is_found_and_answered(librarian: Person, client: httpx2.AsyncClient) -> None:
    original = [{"field": "title", "value": "贵州省黄平县地名志"}, {"field": "contributor", "value": "黄平县人民政府"}]
    await add(librarian, "Huangping Xian di ming zhi", original_script=original)
    for query in ("黄平县", "贵州省", "地名志 huangping", "人民政府"):
        [book] = (await find(client, query))["items"]
        assert book["original_script"] == original, query
    assert await titles(client, "县平黄") == []


@pytest.mark.parametrize(
    ("query", "corrected"),
    [
        ("geneology", "genealogy"),
        ("genealgy", "genealogy"),
        ("genealoggy", "genealogy"),
        ("geneaolgy", "genealogy"),
        ("pilkey geneology", "pilkey genealogy"),
        ("сульба", "судьба"),
    ],
)
async def test_one_wrong_letter_is_forgiven_and_told(
    librarian: Person, client: httpx2.AsyncClient, query: str, corrected: str
) -> None:
    await add(librarian, "A Pilkey family genealogy")
    await add(librarian, "Жизнь и судьба")
    page = await find(client, query)
    assert page["corrected"] == corrected
    assert len(page["items"]) == 1
    for sort in ("newest", "title", "popularity"):
        assert (await find(client, query, sort=sort))["items"] == page["items"]


async def test_what_is_found_as_it_was_typed_is_not_corrected(librarian: Person, client: httpx2.AsyncClient) -> None:
    await add(librarian, "The cart")
    await add(librarian, "The card")
    page = await find(client, "cart")
    assert (page["corrected"], len(page["items"])) == (None, 1)
    assert (await find(client, "zzzzzzzz"))["corrected"] is None


async def test_an_isbn_is_found_in_any_notation_and_a_wrong_one_as_it_is_written(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    numbers = [{"type": "isbn", "value": "0-441-17271-7 (pbk.)"}, {"type": "isbn", "value": "157324510"}]
    book = await add(librarian, "Dune", identifiers=numbers)
    for query in (
        "0441172717",
        "0-441-17271-7",
        "978-0-441-17271-9",
        "ISBN 9780441172719",
        "isbn: 0441172717",
        "157324510",
    ):
        assert [found["id"] for found in (await find(client, query))["items"]] == [book], query


async def test_relevance_pages_show_every_book_once_and_refuse_another_questions_cursor(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    added = [await add(librarian, f"History, part {number}") for number in range(7)]
    seen: list[int] = []
    page = await find(client, "history", limit=3)
    while True:
        seen += [book["id"] for book in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
        page = await find(client, "history", limit=3, cursor=cursor)
    assert sorted(seen) == sorted(added)
    for change in ({"q": "part"}, {"sort": "newest"}, {"language": "eng"}):
        answer = await client.get(BOOKS, params={"q": "history", "limit": 3, "cursor": cursor, **change})
        assert answer.status_code == 400
        assert answer.json()["code"] in {"stale_cursor", "invalid_cursor"}, change


async def test_facets_count_what_is_found_and_narrow_it(librarian: Person, client: httpx2.AsyncClient) -> None:
    author = [{"name": "Herbert, Frank, 1920-1986"}]
    topics = ["Deserts -- Fiction", "Ecology -- Fiction"]
    dune = await add(librarian, "Dune", year=1965, languages=["eng"], contributors=author, subjects=topics)
    await add(librarian, "Dune messiah", year=1969, languages=["eng"], contributors=author, subjects=topics[:1])
    await add(librarian, "Дюна", year=1965, languages=["rus"], alternative_titles=["Dune"], contributors=author)
    await add(librarian, "Emma", year=1815, languages=["eng"])
    await librarian.client.post(f"{BOOKS}/{dune}/copies", json={"barcode": "1"})
    facets = (await client.get(f"{BOOKS}/facets", params={"q": "dune"})).json()

    def counts(name: str) -> dict[str, int]:
        return {facet["value"]: facet["count"] for facet in facets[name]}

    assert (facets["count"], facets["is_capped"], facets["available"]) == (3, False, 1)
    assert counts("language") == {"eng": 2, "rus": 1}
    assert counts("author") == {"Herbert, Frank, 1920-1986": 3}
    assert counts("subject") == {"Fiction": 2, "Deserts": 2, "Ecology": 1}
    assert counts("year") == {"1965": 2, "1969": 1}
    assert [(facet["value"], facet["count"]) for facet in facets["branch"]] == [("main", 1)]
    for name, parameter in (
        ("language", "language"),
        ("author", "author"),
        ("subject", "subject"),
        ("branch", "branch"),
    ):
        for facet in facets[name]:
            found = await find(client, "dune", **{parameter: facet["value"]})
            assert len(found["items"]) == facet["count"], facet
    assert len((await find(client, "dune", author="Frank Herbert"))["items"]) == 0
    assert len((await find(client, "dune", author="herbert frank"))["items"]) == 3
    assert (await client.get(f"{BOOKS}/facets")).json()["count"] == 4


@pytest.mark.parametrize(
    "query",
    [
        "a" * 500, "AND OR NOT NEAR(", '"', '""""', "*", "a*b*c*", "(((", "dune\x01\x02", "\u202e", "the of and",
        "' OR 1=1 --", "dune:*", "!dune", "dune & !dune", "<->", "\\", "'", "é\u0301\u0301", "=dun", "@eng", "| | |",
        "%", "_", "😀", "𝕯𝖚𝖓𝖊", "a b c d e f g h i j k l m n o p q r s t u v w x y z", "-dune", "dune^2", "{dune}",
    ],
)  # fmt: skip
async def test_an_odd_query_gets_an_answer(librarian: Person, client: httpx2.AsyncClient, query: str) -> None:
    await add(librarian, "Dune", languages=["eng"])
    for path in ("", "/suggest", "/facets"):
        for sort in ({}, {"sort": "newest"}) if not path else ({},):
            answer = await client.get(f"{BOOKS}{path}", params={"q": query, **sort})
            assert answer.status_code in {200, 400, 422}, (path, answer.text)


async def test_what_was_saved_is_found_by_the_next_request_hundreds_of_times(
    librarian: Person, client: httpx2.AsyncClient
) -> None:
    words = [
        f"{first}{second}{third}" for first in "bdfgk" for second in ("ala", "ole", "iru") for third in "lmnprstvz"
    ]
    missed = []
    for word in words:
        book = await add(librarian, f"About {word}")
        if [found["id"] for found in (await find(client, word))["items"]][:1] != [book]:
            missed.append(word)
        tag = {"If-Match": "*"}
        await librarian.client.patch(f"{BOOKS}/{book}", json={"title": f"Not {word} but {word}x"}, headers=tag)
        if [found["title"] for found in (await find(client, f"{word}x"))["items"]] != [f"Not {word} but {word}x"]:
            missed.append(f"{word}x")
    assert missed == []
    assert len(words) == 135


async def test_two_librarians_who_save_the_same_new_words_at_once_both_succeed(librarian: Person) -> None:
    answers = await asyncio.gather(
        *(librarian.client.post(BOOKS, json={"title": f"Quokka zymurgy {number}"}) for number in range(12))
    )
    assert {answer.status_code for answer in answers} == {201}


async def test_suggestions_begin_with_titles_that_begin_so(librarian: Person, client: httpx2.AsyncClient) -> None:
    await add(librarian, "Children of Dune")
    await add(librarian, "The dune buggy", sort_title="dune buggy")
    await add(librarian, "Dunes", suppressed=True)
    for typed in ("dun", "the dun", "Dune"):
        found = (await client.get(f"{BOOKS}/suggest", params={"q": typed})).json()["items"]
        assert [item["title"] for item in found] == ["The dune buggy", "Children of Dune"], typed
