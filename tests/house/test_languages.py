"""Refusals in the reader's language: every sentence has one in every other language, with the same facts in it."""

import importlib
import pkgutil
from collections.abc import Iterator
from string import Formatter

import pytest

import app
from app.core.errors import AppError
from app.core.i18n import DEFAULT_LOCALE, LOCALES, refusals

OTHERS = [locale for locale in LOCALES if locale != DEFAULT_LOCALE]
# Refusals of the command line are the operator's, who reads English.
COMMANDS = "app.commands"


def sentences() -> set[str]:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        importlib.import_module(module.name)
    return {error.detail for error in _refusals_below(AppError) if not error.__module__.startswith(COMMANDS)}


def _refusals_below(error: type[AppError]) -> Iterator[type[AppError]]:
    yield error
    for child in error.__subclasses__():
        yield from _refusals_below(child)


def facts_in(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize("locale", OTHERS)
def test_every_refusal_is_said_in_every_language(locale: str) -> None:
    assert sentences() - refusals(locale).keys() == set()


@pytest.mark.parametrize("locale", OTHERS)
def test_a_translated_refusal_tells_the_same_facts(locale: str) -> None:
    assert [said for said, other in refusals(locale).items() if facts_in(said) != facts_in(other)] == []


@pytest.mark.parametrize("locale", OTHERS)
def test_what_no_refusal_says_any_more_is_not_translated(locale: str) -> None:
    words = {said for said in refusals(locale) if "." not in said}
    assert refusals(locale).keys() - words - sentences() == set()
