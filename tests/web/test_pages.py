"""Every page, day and night, in both languages: accessible, quiet, small, and still while it loads."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests import evidence
from tests.web import axe_exceptions, pages
from tests.web.conftest import Open
from tests.web.service import READER_CARD, ROOT, Service

AXE: Final = ROOT / "app" / "static" / "vendor" / "axe-core" / "axe.min.js"
MAX_HTML_BYTES: Final = 100_000
MAX_SHIFT: Final = 0.05
WIDTHS: Final = {"en": (1280, 360), "ru": (360, 1280)}
"""How wide a page is when it loads, and when it is looked at again in the other light."""
SHIFT: Final = """() => new Promise(done => { let total = 0;
  const add = entry => { if (!entry.hadRecentInput) total += entry.value; };
  new PerformanceObserver(list => list.getEntries().forEach(add))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(total), 60); })"""
WIDE: Final = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
  [...document.querySelectorAll("main *, footer *")].filter(part => part.getBoundingClientRect().right > innerWidth)
    .map(part => part.tagName + " " + part.className).slice(0, 5)"""
RUN: Final = """async () => (await axe.run(document, {rules: %s})).violations
  .map(found => found.id + ": " + found.nodes.map(node => node.target.join(" ")).slice(0, 4).join(", "))"""


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_page_is_accessible_quiet_small_and_still(demo: Service, open_as: Open, language: str) -> None:
    first, second = WIDTHS[language]
    options = {
        "locale": language,
        "color_scheme": "light",
        "reduced_motion": "reduce",
        "viewport": {"width": first, "height": 800},
    }
    fill_history(demo, open_as)
    told: dict[str, Any] = {}
    spoken: list[Page] = []
    for who, paths in ((None, pages.STRANGER), ("reader", pages.READER), ("admin", pages.ADMIN)):
        page = open_as(who, **options)
        page.add_init_script(path=AXE)
        if who:
            speak(page, language)
            spoken.append(page)
        if who == "admin":
            page.goto("/desk")
            with page.expect_navigation():
                page.select_option("#branch", "main")
        for path in paths:
            told[path] = look(page, filled(path, page, demo), first, second)
            assert page.locator("html").get_attribute("lang") == language, path
    for page in spoken:
        speak(page, "en")  # the other tests read English
    assert not {path: found["wrong"] for path, found in told.items() if found["wrong"]}
    assert not {path: found["bytes"] for path, found in told.items() if found["bytes"] > MAX_HTML_BYTES}
    assert not {path: found["shift"] for path, found in told.items() if found["shift"] >= MAX_SHIFT}
    evidence.keep(
        "web-pages", language, pages=len(told), axe_violations_light_and_dark=0,
        largest_html_bytes=max(found["bytes"] for found in told.values()),
        largest_layout_shift=round(max(found["shift"] for found in told.values()), 4),
    )  # fmt: skip


def fill_history(demo: Service, open_as: Open) -> None:
    """The reader keeps his history, and has a book in it."""
    reader, desk = open_as("reader"), open_as("librarian")
    reader.goto("/me/profile")
    reader.check("[name=keeps_history]")
    with reader.expect_navigation():
        reader.locator("form:has([name=keeps_history]) button").click()
    desk.goto("/desk")
    [barcode] = demo.barcodes(1)
    desk.keyboard.type(f"{READER_CARD}\n", delay=4)
    expect(desk.locator("#mode")).to_contain_text("Jamie Meadows")
    desk.keyboard.type(f"{barcode}\n", delay=4)
    expect(desk.locator("#verdict .word")).to_have_text("Issued")
    desk.keyboard.press("Escape")
    desk.keyboard.type(f"{barcode}\n", delay=4)
    expect(desk.locator("#verdict .word")).to_have_text("Taken back")
    reader.goto("/me/history")
    expect(reader.locator(".slips li")).not_to_have_count(0)


def speak(page: Page, language: str) -> None:
    """Choose the language of the account, as its owner does."""
    page.goto("/me")
    if page.locator("html").get_attribute("lang") != language:
        with page.expect_navigation():
            page.locator(f"button[value={language}]").click()


def look(page: Page, path: str, first: int, second: int) -> dict[str, Any]:
    """Open a page; its size, how much it moved, and what is wrong with it by day and at night, wide and narrow."""
    page.set_viewport_size({"width": first, "height": 800})
    response = page.goto(path)
    assert response is not None
    found = {"bytes": len(response.body()), "shift": page.evaluate(SHIFT)}
    rules = "{" + ",".join(f'"{rule}": {{enabled: false}}' for rule in axe_exceptions.SWITCHED_OFF) + "}"
    wrong = page.evaluate(RUN % rules) + page.evaluate(WIDE)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.set_viewport_size({"width": second, "height": 800})
    wrong += [f"at night: {what}" for what in page.evaluate(RUN % rules) + page.evaluate(WIDE)]
    return {**found, "wrong": wrong}


def filled(path: str, page: Page, demo: Service) -> str:
    """The address with what it names looked up."""
    if path == "{reader}":
        page.goto(f"/readers?q={READER_CARD}")
        return page.locator("tbody a").first.get_attribute("href") or ""
    return path.replace("{barcode}", demo.barcodes(1)[0]) if "{barcode}" in path else path


def test_the_languages_know_every_sentence_of_the_templates() -> None:
    """A sentence without a translation would stand in English on a Russian page."""
    folder = ROOT / "app" / "web"
    known = json.loads((folder / "locale" / "ru.json").read_text(encoding="utf-8"))
    sentence = re.compile(r"""(?<![\w.])(?:t|say|words\.say)\((["'])((?:(?!\1).)+)\1(?:,|\))""")
    plurals = re.compile(r"""(?:\bn|words\.count)\([^"']*?,\s*"[^"]+",\s*"([^"]+)\"""")
    missing = set()
    for path in [*folder.rglob("*.html"), *folder.rglob("*.py")]:
        text = Path(path).read_text(encoding="utf-8")
        missing |= {found[1] for found in sentence.findall(text)} - known.keys()
        missing |= set(plurals.findall(text)) - known.keys()
    assert not missing
