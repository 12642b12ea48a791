"""A running service and a browser, and what every page must keep: no console error, no other origin, no CSP report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.integration.security.test_matrix import cast  # noqa: F401  # a fixture
from tests.web.service import CHROMIUM, Service, running

Open = Callable[..., Page]

expect.set_options(timeout=20_000)  # what is waited for comes at once, unless the machine is busy


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("web")) as demo:
        yield demo


@pytest.fixture
def browser() -> Iterator[Browser]:
    """One a test: the driver keeps an event loop running in this thread, where other tests want theirs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def watched(
    context: BrowserContext, address: str, allowed: tuple[int, ...] = (), ignored: str | None = None
) -> Iterator[None]:
    """Fail if a page writes an error to the console (a CSP report is one) or asks another origin.

    A browser also writes there that a page was refused; `allowed` are the refusals that a test means to see, and
    `ignored` is what else it brings about.
    """
    wrong: list[str] = []

    def note(message: Any) -> None:
        expected = any(f"status of {status}" in message.text for status in allowed)
        expected = expected or (ignored is not None and ignored in message.text)
        if message.type == "error" and not expected:
            wrong.append(f"{message.text} at {message.location.get('url', '')}")

    def note_address(sent: Request) -> None:
        if not sent.url.startswith(address):
            wrong.append(f"asked {sent.url}")

    context.on("console", note)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("request", note_address)
    yield
    assert not wrong, wrong


@pytest.fixture
def open_as(demo: Service, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page as somebody: `open_as("reader")`, or `open_as()` for a stranger; options go to the browser."""
    allowed = getattr(request, "param", (401, 403, 404, 409, 410, 412, 422))
    open_contexts: list[tuple[BrowserContext, Any]] = []

    def open_page(who: str | None = None, *, ignored: str | None = None, **options: Any) -> Page:
        context = browser.new_context(base_url=demo.address, **{"locale": "en", **options})
        watching = watched(context, demo.address, allowed, ignored)
        watching.__enter__()
        open_contexts.append((context, watching))
        context.set_default_timeout(30_000)
        page = context.new_page()
        if who:
            sign_in(page, demo, who)
        return page

    yield open_page
    for context, watching in open_contexts:
        context.close()
        watching.__exit__(None, None, None)


def sign_in(page: Page, service: Service, who: str) -> None:
    page.goto("/login")
    page.fill("#email", f"{who}@library.test")
    page.fill("#password", service.passwords[who])
    page.click("main button.go")
    page.wait_for_url(lambda url: "/login" not in url)
