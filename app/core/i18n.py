"""Languages: who gets which, what refusals say in them, plural forms and dates."""

import json
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

LOCALES: Final = ("en", "ru")
DEFAULT_LOCALE: Final = "en"
LANGUAGE_COOKIE: Final = "language"

_MONTHS: Final = {
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    "ru": (
        "января", "февраля", "марта", "апреля", "мая", "июня",
        "июля", "августа", "сентября", "октября", "ноября", "декабря",
    ),
}  # fmt: skip


def known(locale: str) -> str:
    """The locale if there are texts in it, else the default one."""
    return locale if locale in LOCALES else DEFAULT_LOCALE


def chosen(cookie: str | None, accepted: str) -> str:
    """The language of somebody who has not set one: his cookie's, or the first known one in Accept-Language."""
    if cookie in LOCALES:
        return cookie
    asked = (part.split(";")[0].strip().lower()[:2] for part in accepted.split(","))
    return next((language for language in asked if language in LOCALES), DEFAULT_LOCALE)


@cache
def refusals(locale: str) -> dict[str, str]:
    """The sentences of refusals, and the words that stand in them, by their English; English needs none."""
    path = Path(__file__).with_name(f"refusals.{locale}.json")
    texts: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return texts


def plural(locale: str, count: int, forms: tuple[str, ...]) -> str:
    """The form that a whole number of things takes: English (one, other), Russian (one, few, many).

    Source: Unicode CLDR, cardinal plural rules of `en` and `ru` for integers.
    """
    if locale != "ru":
        return forms[0 if count == 1 else 1]
    if count % 10 == 1 and count % 100 != 11:  # noqa: PLR2004  # CLDR's numbers
        return forms[0]
    if count % 10 in {2, 3, 4} and count % 100 not in {12, 13, 14}:
        return forms[1]
    return forms[2]


def format_date(locale: str, day: date) -> str:
    """`30 November 2026`, `30 ноября 2026 года`"""
    written = f"{day.day} {_MONTHS[known(locale)][day.month - 1]} {day.year}"
    return f"{written} года" if locale == "ru" else written
