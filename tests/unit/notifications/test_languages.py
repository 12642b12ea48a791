"""Plural forms and dates in both languages."""

from datetime import date

import pytest

from app.core.i18n import format_date, known, plural

RUSSIAN = ("день", "дня", "дней")


@pytest.mark.parametrize(
    ("count", "form"),
    [
        (0, "дней"), (1, "день"), (2, "дня"), (4, "дня"), (5, "дней"), (11, "дней"), (12, "дней"), (14, "дней"),
        (21, "день"), (22, "дня"), (25, "дней"), (101, "день"), (111, "дней"), (112, "дней"), (1002, "дня"),
    ],
)  # fmt: skip
def test_russian_has_three_forms_and_the_teens_take_the_last(count: int, form: str) -> None:
    assert plural("ru", count, RUSSIAN) == form


@pytest.mark.parametrize(("count", "form"), [(0, "days"), (1, "day"), (2, "days"), (11, "days"), (101, "days")])
def test_english_has_one_form_for_one(count: int, form: str) -> None:
    assert plural("en", count, ("day", "days")) == form


def test_dates_are_written_out_in_each_language() -> None:
    assert format_date("en", date(2026, 11, 3)) == "3 November 2026"
    assert format_date("ru", date(2026, 5, 31)) == "31 мая 2026 года"


def test_a_language_that_we_do_not_speak_becomes_english() -> None:
    assert (known("ru"), known("en"), known("de"), known("")) == ("ru", "en", "en", "en")
