"""Takes the pictures of the main pages for the README into docs/images: by day, at night, and on a phone."""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.web.conftest import sign_in  # noqa: E402  # the folder above is on the path only now
from tests.web.service import CHROMIUM, READER_CARD, Service, running  # noqa: E402  # the same

IMAGES: Final = ROOT / "docs" / "images"
DAY: Final[dict[str, Any]] = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light", "locale": "en"}
NIGHT: Final[dict[str, Any]] = {**DAY, "color_scheme": "dark"}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "ru", "device_scale_factor": 2
}  # fmt: skip


def main() -> None:
    """Run the demonstration, do what a morning at the desk does, and picture it."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        reader = visit(browser, service, "reader", DAY)
        reader.goto("/books/17")
        reader.click("#live button.go")
        desk = visit(browser, service, "librarian", DAY)
        for code in (READER_CARD, *service.barcodes(5)):
            desk.keyboard.type(code)
            desk.keyboard.press("Enter")
        desk.locator("#tape li").nth(4).wait_for()
        picture(desk, "desk-day")
        picture(reader, "my-books-day", "/me")
        picture(visit(browser, service, None, DAY), "catalogue-day", "/?q=love")
        picture(visit(browser, service, None, NIGHT), "catalogue-night", "/")
        picture(visit(browser, service, "admin", NIGHT), "statistics-night", "/statistics")
        phone = visit(browser, service, None, PHONE)
        picture(phone, "catalogue-phone", "/")
        picture(phone, "book-phone", "/books/17")
        browser.close()


def visit(browser: Browser, service: Service, who: str | None, options: dict[str, Any]) -> Page:
    page = browser.new_context(base_url=service.address, **options).new_page()
    if who:
        sign_in(page, service, who)
    return page


def picture(page: Page, name: str, path: str | None = None) -> None:
    if path:
        page.goto(path)
    page.wait_for_timeout(400)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    main()
