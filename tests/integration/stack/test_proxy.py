"""The shipped proxy before the shipped image: what passes, what is closed, and whom it believes."""

import json
import re
import subprocess
import time

import pytest

from tests import evidence
from tests.integration.stack.client import Client
from tests.integration.stack.running import GATEWAY, HOST, SECOND_CLIENT, Stack

CLOSED = [
    "/metrics", "/metrics/", "/%6detrics", "//metrics", "/METRICS", "/x/../metrics", "/health/detailed",
    "/health/detailed/", "/health/%64etailed", "/.env", "/.git/config", "/static/.hidden", "/proxy-health",
    "/_errors/404.html",
]  # fmt: skip
ONCE = [
    "x-content-type-options",
    "x-frame-options",
    "content-security-policy",
    "strict-transport-security",
    "referrer-policy",
]


def test_every_service_is_healthy(stack: Stack) -> None:
    started = {sandbox.service.name for sandbox in stack.running.values()} | {"migrate"}
    assert started == stack.usual() | stack.watching()
    assert all(sandbox.is_healthy() for sandbox in stack.running.values())


def test_a_request_over_tls_reaches_the_service(outside: Client) -> None:
    answer = outside.get("/api/v1/books")
    assert answer.status_code == 200
    assert isinstance(answer.json()["items"], list)
    assert outside.get("/health/ready").json() == {"status": "ready"}


def test_http_is_sent_to_https_but_for_acme(stack: Stack, outside: Client) -> None:
    moved = outside.plain("/books?q=x")
    assert (moved.status_code, moved.headers["location"]) == (308, f"https://{HOST}/books?q=x")
    folder = stack.folder / "volumes" / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("proof")
    assert outside.plain("/.well-known/acme-challenge/token").text == "proof"


@pytest.mark.parametrize("path", CLOSED)
def test_what_is_for_the_inside_is_not_there(stack: Stack, outside: Client, path: str) -> None:
    proxy = stack.running["nginx"].address
    # curl sends the path as it stands.
    command = ["curl", "-sk", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", f"https://{HOST}:8443{path}"]
    done = subprocess.run([*command, "--resolve", f"{HOST}:8443:{proxy}"], capture_output=True, text=True, check=True)
    assert done.stdout == "404"


@pytest.mark.parametrize("port", [8080, 8443])
def test_whoever_asks_for_another_host_is_let_go(stack: Stack, port: int) -> None:
    address = f"{stack.running['nginx'].address}:{port}"
    url = f"{'https' if port == 8443 else 'http'}://{address}/proxy-health"
    for host, path, expected in (
        ("evil.test", "/", "000"), (address, "/docs", "000"), ("evil.test", "/proxy-health", "403"),
        (HOST, "/proxy-health", "404" if port == 8443 else "308"),
    ):  # fmt: skip
        asked = url.replace("/proxy-health", path)
        command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", asked]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == expected, (host, path)


def test_well_known_is_the_services(outside: Client) -> None:
    answer = outside.get("/.well-known/nothing", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/v1/books", "/metrics", "/docs", "/api/v1/nothing", "/health"])
def test_security_headers_come_once(outside: Client, path: str) -> None:
    headers = outside.get(path).headers
    for name in ONCE:
        assert len(headers.get_list(name)) == 1, name
    assert "server" not in headers or headers["server"] == "nginx"


def test_nobody_chooses_his_own_address(stack: Stack, outside: Client) -> None:
    def sign_in(client: Client, claimed: str) -> int:
        headers = {"X-Forwarded-For": claimed, "X-Real-IP": claimed, "Forwarded": f"for={claimed}"}
        return client.post(
            "/api/v1/auth/login", {"email": "who@library.test", "password": "wrong"}, headers=headers
        ).status_code

    # Ten tries an address and account; claiming to be somebody else gives no more of them, nor takes them from him.
    statuses = [sign_in(outside, f"198.51.100.{number}") for number in range(11)]
    assert statuses == [401] * 10 + [429]
    with Client(stack, SECOND_CLIENT) as other:
        assert sign_in(other, GATEWAY) == 401


def test_a_page_comes_from_the_cache_and_compressed(stack: Stack, outside: Client) -> None:
    log = stack.running["nginx"].log
    asked = {"Accept": "text/html", "User-Agent": "cache-test", "Accept-Encoding": "gzip"}
    answers = [outside.get("/", headers=asked) for _ in range(5)]
    assert {(answer.status_code, answer.headers["content-encoding"]) for answer in answers} == {(200, "gzip")}
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"cache-test"' in line]
    assert all(line["protocol"] == "HTTP/1.1" and line["tls"] == "TLSv1.3" for line in lines)
    assert all(line["request_id"] and line["client"] for line in lines)
    assert "content-encoding" not in outside.get("/api/v1/books", headers={"Accept-Encoding": "identity"}).headers


def test_pages_of_strangers_are_kept_a_second_by_language_and_nobody_elses(stack: Stack, outside: Client) -> None:
    log = stack.running["nginx"].log

    def see(mark: str, **headers: str) -> tuple[list[str], set[str]]:
        given = {"Accept": "text/html", "User-Agent": mark, **headers}
        answers = [outside.get("/", headers=given) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200}
        lines = [json.loads(line) for line in log.read_text().splitlines() if f'"{mark}"' in line]
        languages = {found for answer in answers for found in re.findall(r'<html lang="(\w+)"', answer.text)}
        return [line["cache"] for line in lines], languages

    english, languages = see("page-en", **{"Accept-Language": "en"})
    evidence.keep("S8-proxy", "cache", pages=english)
    assert "HIT" in english
    assert languages == {"en"}
    russian, languages = see("page-ru", **{"Accept-Language": "ru"})
    assert "HIT" in russian
    assert languages == {"ru"}
    own, _ = see("page-own", **{"Accept-Language": "en", "Cookie": "light=dark"})
    assert set(own) == {"BYPASS"}


def test_an_old_page_is_shown_only_while_nobody_can_make_a_new_one(stack: Stack, outside: Client) -> None:
    asked = {"Accept": "text/html", "User-Agent": "page-old"}
    assert outside.get("/", headers=asked).status_code == 200
    stack.members()
    try:
        time.sleep(2.1)  # a second, counted in whole ones
        assert outside.get("/", headers=asked).status_code == 200
        never_seen = outside.get("/?q=never-seen", headers=asked)
        assert (never_seen.status_code, never_seen.headers["retry-after"]) == (503, "1")
        assert "<html" in never_seen.text
        program = outside.get("/api/v1/books")
        assert (program.status_code, program.json()["code"]) == (503, "unavailable")
    finally:
        stack.members("api-1", "api-2")
    assert _kept(stack, "page-old")[1] == "STALE"
    until = time.monotonic() + 10  # a connection that was kept may still lead to who knows of no members
    while _kept(stack, "page-old")[-1] not in {"EXPIRED", "MISS"}:
        assert time.monotonic() < until
        assert outside.get("/", headers=asked).status_code == 200
        time.sleep(0.2)


def _kept(stack: Stack, agent: str) -> list[str]:
    """Where the home page's answers to this asker came from, as the proxy's log says."""
    lines = [json.loads(line) for line in stack.running["nginx"].log.read_text().splitlines() if f'"{agent}"' in line]
    return [line["cache"] for line in lines if line["path"] == "/"]


def test_it_speaks_http_2(stack: Stack) -> None:
    proxy = stack.running["nginx"].address
    command = ["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version}", f"https://{HOST}:8443/health"]
    done = subprocess.run([*command, "--resolve", f"{HOST}:8443:{proxy}"], capture_output=True, text=True, check=True)
    assert done.stdout == "2"


def test_events_pass_as_they_happen(outside: Client) -> None:
    with outside.stream("/api/v1/books/availability/stream?ids=1") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert next(answer.iter_raw())


def test_a_body_too_large_is_a_problem(outside: Client) -> None:
    answer = outside.post("/api/v1/books", {"title": "x" * 2_000_000})
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_too_many_from_one_address_are_told_to_wait(stack: Stack) -> None:
    with Client(stack, SECOND_CLIENT) as other:
        answers = [other.post("/api/v1/auth/login", {"email": "a@b.c", "password": "x"}) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all("retry-after" in answer.headers for answer in refused)
