"""Every page, day and night, in both languages: accessible, quiet, small, and still while it loads."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from tests import evidence
from tests.web import axe_exceptions, pages
from tests.web.conftest import Open
from tests.web.service import READER_CARD, ROOT, Service

AXE: Final = ROOT / "app" / "static" / "vendor" / "axe-core" / "axe.min.js"
MAX_HTML_BYTES: Final = 100_000
MAX_SHIFT: Final = 0.05
WIDTHS: Final = {"light": 1280, "dark": 360}
SHIFT: Final = """() => new Promise(done => { let total = 0;
  const add = entry => { if (!entry.hadRecentInput) total += entry.value; };
  new PerformanceObserver(list => list.getEntries().forEach(add))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(total), 60); })"""
RUN: Final = """async () => (await axe.run(document, {rules: %s})).violations
  .map(found => found.id + ": " + found.nodes.map(node => node.target.join(" ")).slice(0, 4).join(", "))"""


@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_page_is_accessible_quiet_small_and_still(
    demo: Service, open_as: Open, language: str, light: Any
) -> None:
    options = {"locale": language, "color_scheme": light, "viewport": {"width": WIDTHS[light], "height": 800}}
    told: dict[str, Any] = {}
    for who, paths in ((None, pages.STRANGER), ("reader", pages.READER), ("admin", pages.ADMIN)):
        page = open_as(who, **options)
        page.context.add_cookies([{"name": "language", "value": language, "url": demo.address}])
        if who:
            page.goto("/me")
            if page.locator("html").get_attribute("lang") != language:
                with page.expect_navigation():
                    page.locator(f"button[value={language}]").click()
        if who == "admin":
            page.goto("/desk")
            with page.expect_navigation():
                page.select_option("#branch", "main")
        for path in paths:
            told[path] = look(page, filled(path, page, demo))
            assert page.locator("html").get_attribute("lang") == language, path
    wrong = {path: found["violations"] for path, found in told.items() if found["violations"]}
    assert not wrong, wrong
    assert not {path: found["bytes"] for path, found in told.items() if found["bytes"] > MAX_HTML_BYTES}
    assert not {path: found["shift"] for path, found in told.items() if found["shift"] >= MAX_SHIFT}
    assert not [path for path, found in told.items() if found["overflow"]]
    evidence.keep(
        "web-pages", f"{language}-{light}", pages=len(told), violations=0,
        largest_html_bytes=max(found["bytes"] for found in told.values()),
        largest_layout_shift=round(max(found["shift"] for found in told.values()), 4),
    )  # fmt: skip


def look(page: Page, path: str) -> dict[str, Any]:
    """Open a page; what axe finds, its size, how much it moved, whether it must be scrolled sideways."""
    response = page.goto(path)
    assert response is not None
    size = len(response.body())
    shift = page.evaluate(SHIFT)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    rules = "{" + ",".join(f'"{rule}": {{enabled: false}}' for rule in axe_exceptions.SWITCHED_OFF) + "}"
    return {
        "bytes": size,
        "shift": shift,
        "violations": page.evaluate(RUN % rules),
        "overflow": page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"),
    }


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
