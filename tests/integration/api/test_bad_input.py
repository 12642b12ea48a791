"""Bad input: a clear refusal with a stable code, and nothing written."""

import gc
import json
import warnings
from typing import Any

import httpx2
import pytest

from tests.conftest import Person

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
BOOKS = "/api/v1/books"


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, after checking that it is one and says what was expected."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["type"].endswith(code)
    return problem


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"title": "Dune"', 400, "malformed_json"),
        (b"\xff\xfe{}", 400, "malformed_json"),
        (b'{"title": "\xff"}', 400, "malformed_body"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "malformed_body"),
        (b"", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (b'"Dune"', 422, "validation_failed"),
        (b'{"title": 5}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": "1965"}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": 1965.0}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": true}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": 1e400}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": NaN}', 422, "validation_failed"),
        (b'{"title": "Dune", "year": 99999999999999999999}', 422, "validation_failed"),
        (b'{"title": "Dune", "yaer": 1965}', 422, "validation_failed"),
        (b'{"title": "Dune", "id": 1}', 422, "validation_failed"),
        (b'{"title": "Du\\u0000ne"}', 422, "validation_failed"),
        (b'{"title": "Du\\ud800ne"}', 422, "validation_failed"),
        (b'{"title": "Dune\\nMessiah"}', 422, "validation_failed"),
        (b'{"title": "Dune", "summary": "\\u0007"}', 422, "validation_failed"),
        (b'{"title": "Dune", "languages": ["english"]}', 422, "validation_failed"),
        (b'{"title": "Dune", "identifiers": [{"type": "barcode", "value": "1"}]}', 422, "validation_failed"),
        (b'{"title": "Dune", "contributors": [{"name": ""}]}', 422, "validation_failed"),
        (b'{"title": "' + b"x" * 2_001 + b'"}', 422, "validation_failed"),
    ],
)
async def test_a_body_that_is_no_book_is_refused(librarian: Person, body: bytes, status: int, code: str) -> None:
    refused(await librarian.client.post(BOOKS, content=body, headers=JSON), status, code)
    assert (await librarian.client.get(BOOKS)).json()["items"] == []


async def test_a_validation_problem_points_at_each_value(librarian: Person) -> None:
    body = {"year": "1965", "contributors": [{"name": "Herbert"}, {"role": "author"}], "a/b~c": 1}
    problem = refused(await librarian.client.post(BOOKS, json=body), 422, "validation_failed")
    assert {(error["where"], error["pointer"]) for error in problem["errors"]} == {
        ("body", "/title"),
        ("body", "/year"),
        ("body", "/contributors/1/name"),
        ("body", "/a~1b~0c"),
    }
    assert all(error["detail"] and error["code"] for error in problem["errors"])


async def test_what_was_sent_is_not_echoed(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/auth/register", json={"email": "x", "password": "hunter2", "full_name": 5})
    refused(answer, 422, "validation_failed")
    assert "hunter2" not in answer.text


async def test_a_body_that_is_not_json_is_refused(librarian: Person) -> None:
    answer = await librarian.client.post(BOOKS, content=b"title=Dune", headers={"Content-Type": "text/plain"})
    refused(answer, 422, "validation_failed")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_a_megabyte_is_refused(librarian: Person, announced: bool) -> None:  # noqa: FBT001  # a parameter
    body = json.dumps({"title": "x" * 1_100_000}).encode()

    async def chunks() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content = body if announced else chunks()
    refused(await librarian.client.post(BOOKS, content=content, headers=JSON), 413, "body_too_large")


@pytest.mark.parametrize(
    "query",
    [
        "sort=price", "limit=0", "limit=101", "limit=x", "limit=-1", "year_from=x", "year_from=99999999999999999999",
        "language=english", "available=perhaps", "colour=red", "include=everything",
        "q=" + "a" * 501, "author=" + "a" * 201,
    ],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    refused(await client.get(f"{BOOKS}?{query}"), 422, "validation_failed")


@pytest.mark.parametrize("query", ["q=", "q=%20", "q=...", "q=%21%26%7C%28%29"])
async def test_a_query_without_a_word_says_so(client: httpx2.AsyncClient, query: str) -> None:
    refused(await client.get(f"{BOOKS}?{query}"), 400, "nothing_to_search")


@pytest.mark.parametrize(
    "url", [f"{BOOKS}?q=%00", f"{BOOKS}?q=%ff", f"{BOOKS}?%c3%28=1", f"{BOOKS}/%00", f"{BOOKS}/%ff"]
)
async def test_an_address_that_is_no_utf8_is_refused(client: httpx2.AsyncClient, url: str) -> None:
    refused(await client.get(url), 400, "malformed_url")


async def test_an_address_of_ten_megabytes_is_refused(client: httpx2.AsyncClient) -> None:
    refused(await client.get(f"{BOOKS}?cursor=" + "a" * 60_000), 414, "url_too_long")


async def test_headers_of_many_kilobytes_are_refused(client: httpx2.AsyncClient) -> None:
    refused(await client.get(BOOKS, headers={"X-Noise": "a" * 20_000}), 431, "headers_too_large")


async def test_an_unknown_host_is_refused_but_probes_are_not(client: httpx2.AsyncClient) -> None:
    refused(await client.get(BOOKS, headers={"Host": "evil.test"}), 400, "unknown_host")
    assert (await client.get("/health", headers={"Host": "10.0.0.7:8000"})).status_code == 200


@pytest.mark.parametrize("book_id", ["0", "-1", "x", "1.5", "9223372036854775808"])
async def test_an_id_that_is_no_id_is_refused(client: httpx2.AsyncClient, book_id: str) -> None:
    refused(await client.get(f"{BOOKS}/{book_id}"), 422, "validation_failed")


async def test_what_is_not_there_says_which(client: httpx2.AsyncClient) -> None:
    refused(await client.get(f"{BOOKS}/9223372036854775807"), 404, "book_not_found")
    refused(await client.get("/api/v1/branches/nowhere"), 404, "branch_not_found")
    refused(await client.get("/api/v1/nothing"), 404, "not_found")
    refused(await client.put(BOOKS), 405, "method_not_allowed")


async def test_a_trailing_slash_is_no_redirect(client: httpx2.AsyncClient) -> None:
    for url in ("/health/", f"{BOOKS}/", f"{BOOKS}//", "/api/v1/branches/main/"):
        assert (await client.get(url)).status_code == 200, url


@pytest.mark.parametrize("ids", ["", "a", "1,,2", "-1", "1.5", "9999999999999999999999", ",".join("1" * 101), "٣"])
async def test_ids_of_availability_must_be_numbers(client: httpx2.AsyncClient, ids: str) -> None:
    refused(await client.get(f"{BOOKS}/availability", params={"ids": ids}), 400, "invalid_ids")


@pytest.mark.parametrize(
    "value", ["", "Basic eDp5", "Bearer", "Bearer ", "Bearer x", "Bearer x.y.z", "Bearer " + "é" * 10, "bearer null"]
)
async def test_a_token_that_is_none_does_not_sign_in(client: httpx2.AsyncClient, value: str) -> None:
    answer = await client.get("/api/v1/auth/me", headers={b"Authorization": value.encode()})
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("barcode", ["", " ", "a b", "é", "\0", "x" * 65, 5, None, "a\tb"])
async def test_a_barcode_that_no_scanner_reads_is_refused(librarian: Person, barcode: Any) -> None:
    book = (await librarian.client.post(BOOKS, json={"title": "Dune"})).json()
    refused(
        await librarian.client.post(f"{BOOKS}/{book['id']}/copies", json={"barcode": barcode}), 422, "validation_failed"
    )


@pytest.mark.parametrize("email", ["a\0b@library.test", "x" * 300, "", "a\nb"])
async def test_an_address_that_nobody_can_have_is_refused_wherever_it_is_typed(
    client: httpx2.AsyncClient, email: str
) -> None:
    for path, body in (("login", {"email": email, "password": "x"}), ("forgot", {"email": email})):
        refused(await client.post(f"/api/v1/auth/{path}", json=body), 422, "validation_failed")
    if email:
        form = {"username": email, "password": "x"}
        refused(await client.post("/api/v1/auth/token", data=form), 401, "wrong_credentials")


@pytest.mark.parametrize("path", ["/api/v1/auth/token", "/api/v1/auth/login", "/login", "/account"])
async def test_only_what_takes_files_takes_a_multipart_form(client: httpx2.AsyncClient, path: str) -> None:
    """A body that breaks off inside a file would leave that file open until the next garbage collection."""
    cut_off = b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\nabc'
    headers = {"Content-Type": "Multipart/Form-Data; boundary=x", "Origin": str(client.base_url)}
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        answer = await client.post(path, content=cut_off, headers=headers)
        gc.collect()
    assert answer.status_code == 415, answer.text
    assert not unclosed
