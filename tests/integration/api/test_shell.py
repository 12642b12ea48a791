"""The shell: request ids, headers, health and metrics, whatever happens inside."""

import re

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.core.middleware import Shell
from tests.conftest import Person

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"


@pytest.mark.parametrize("url", ["/health", BOOKS, f"{BOOKS}/999", f"{BOOKS}?q=%00", "/docs", "/nothing"])
async def test_every_answer_carries_the_security_headers_and_a_request_id(client: httpx2.AsyncClient, url: str) -> None:
    headers = (await client.get(url)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-ID"])
    assert len(headers.get_list("content-security-policy")) == 1


async def test_a_good_request_id_is_kept_and_a_bad_one_replaced(client: httpx2.AsyncClient) -> None:
    kept = await client.get("/health", headers={"X-Request-ID": "from-the-proxy-1"})
    assert kept.headers["X-Request-ID"] == "from-the-proxy-1"
    for bad in ("x", "a" * 65, "a b c d e f", 'log"injection'):
        assert (await client.get("/health", headers={"X-Request-ID": bad})).headers["X-Request-ID"] != bad


async def test_head_is_get_without_a_body(client: httpx2.AsyncClient) -> None:
    for url in ("/health", "/health/ready", "/health/startup", BOOKS):
        head, full = await client.head(url), await client.get(url)
        assert (head.status_code, head.content) == (full.status_code, b""), url
        assert head.headers["Content-Length"] == full.headers["Content-Length"]


async def test_health_says_what_the_contract_says(client: httpx2.AsyncClient) -> None:
    health = (await client.get("/health")).json()
    assert (health["status"], health["service"]) == ("healthy", "Library")
    assert health["timestamp"].endswith("Z")
    assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_details_are_for_staff_and_this_machine(service: Shell, reader: Person, librarian: Person) -> None:
    outside = httpx2.ASGITransport(app=service, client=("203.0.113.9", 5000))
    async with httpx2.AsyncClient(transport=outside, base_url="http://localhost") as stranger:
        for url in ("/health/detailed", "/metrics"):
            assert (await stranger.get(url)).status_code in {403, 404}
            assert (await stranger.get(url, headers=reader.client.headers)).status_code in {403, 404}
        signed_in = await stranger.get("/health/detailed", headers=librarian.client.headers)
        assert signed_in.status_code == 200
        assert set(signed_in.json()["checks"]) == {"api", "database", "cache", "disk", "memory"}
    inside = httpx2.ASGITransport(app=service, client=("127.0.0.1", 5000))
    async with httpx2.AsyncClient(transport=inside, base_url="http://localhost") as neighbour:
        assert (await neighbour.get("/health/detailed")).status_code == 200
        assert (await neighbour.get("/metrics")).status_code == 200
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        assert (await neighbour.get("/metrics", headers=forwarded)).status_code == 404
        assert (await neighbour.get("/health/detailed", headers=forwarded)).status_code == 403


def _sample(exposition: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return 0.0


async def test_requests_are_counted_by_route_template_and_status(client: httpx2.AsyncClient) -> None:
    template = {"method": "GET", "endpoint": "/api/v1/books/{book_id}", "status": "404"}
    unmatched = {"method": "GET", "endpoint": "(unmatched)", "status": "404"}
    before = (await client.get("/metrics")).text
    for number in range(3):
        await client.get(f"{BOOKS}/{900 + number}")
        await client.get(f"/no/such/{number}")
    after = (await client.get("/metrics")).text
    for labels in (template, unmatched):
        grown = _sample(after, "http_requests_total", **labels) - _sample(before, "http_requests_total", **labels)
        assert grown == 3, labels
    in_progress = _sample(after, "http_requests_in_progress", method="GET", endpoint="/api/v1/books/{book_id}")
    assert in_progress == 0
    assert "no/such" not in after


async def test_business_counters_rise_on_commit_only(librarian: Person, client: httpx2.AsyncClient) -> None:
    before = _sample((await client.get("/metrics")).text, "books_created_total")
    await librarian.client.post(BOOKS, json={"title": "Dune"})
    await librarian.client.post(BOOKS, json={"title": 5})
    after = _sample((await client.get("/metrics")).text, "books_created_total")
    assert after - before == 1


async def test_the_schema_and_both_pages_come_from_here(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    assert f"{BOOKS}/{{book_id}}" in schema["paths"]
    for url in ("/docs", "/redoc"):
        page = await client.get(url)
        assert page.status_code == 200
        assert not re.search(r"(src|href)=\"https?:", page.text), "no other host is asked"
