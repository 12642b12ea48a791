"""The letter that a notice becomes: one text in two forms, plain and HTML, in which what people typed stays inert."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from string import Formatter
from typing import Final

from app.core.i18n import format_date, known, plural
from app.core.mail import Letter, one_line, shortened
from app.core.schemas import JsonObject
from app.notifications.models import Kind
from app.notifications.texts import ENGLISH, LANGUAGES, Language, Text

TITLE_CHARACTERS: Final = 300
SUBJECT_TITLE_CHARACTERS: Final = 100
# Phrases that are made of a fact.
_MADE_OF: Final = {"days": "due_on", "renewals": "renewals_left"}
# Reminders that a reader may do without; the rest is part of having booked or borrowed.
_COURTESIES: Final = frozenset({Kind.DUE_SOON})

_PAGE: Final = (
    '<!doctype html>\n<html lang="{locale}"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    '<title>{subject}</title></head>\n<body style="font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:1em">\n'
    '{paragraphs}\n<p><a href="{link}">{account}</a></p>\n<p style="font-size:13px">{closing}</p>\n</body></html>\n'
)


@dataclass(frozen=True, slots=True)
class Addressee:
    """To whom a letter goes, and in which language."""

    email: str
    name: str
    locale: str


def required_facts(kind: Kind) -> frozenset[str]:
    """What a notice's payload must hold: text, whole numbers (`renewals_left`) and days (`…_on`, ISO 8601)."""
    text = ENGLISH.texts[kind]
    named = {name for part in (text.subject, *text.paragraphs) for _, name, _, _ in Formatter().parse(part) if name}
    return frozenset(_MADE_OF.get(name, name) for name in named)


def write(kind: Kind, facts: JsonObject, *, addressee: Addressee, library: str, address: str, today: date) -> Letter:
    """The letter in the addressee's language; `address` is the service's public root, where its one link leads.

    Raises:
        KeyError, ValueError: a fact is missing or is not what its name says.
    """
    locale = known(addressee.locale)
    language = LANGUAGES[locale]
    words = _words(locale, language, facts, today) | {"name": one_line(addressee.name), "library": one_line(library)}
    text = language.texts[kind]
    link = f"{address}/account"
    subject = text.subject.format_map(words | {"title": shortened(words["title"], SUBJECT_TITLE_CHARACTERS)})
    return Letter(
        to=addressee.email,
        subject=subject,
        text=_plain(language, text, words, link),
        html=_page(locale, language, text, words, link=link, subject=subject),
        headers={"List-Unsubscribe": f"<{link}>"} if kind in _COURTESIES else {},
    )


def _words(locale: str, language: Language, facts: JsonObject, today: date) -> dict[str, str]:
    words = {name: _written(locale, name, value) for name, value in facts.items()}
    words["title"] = shortened(words["title"], TITLE_CHARACTERS)
    if "due_on" in facts:
        words["days"] = _counted(locale, language.days, max((today - date.fromisoformat(facts["due_on"])).days, 1))
    if "renewals_left" in facts:
        left = int(facts["renewals_left"])
        words["renewals"] = _counted(locale, language.renewals, left) if left > 0 else language.no_renewals
    return words


def _written(locale: str, name: str, value: str | int) -> str:
    return format_date(locale, date.fromisoformat(str(value))) if name.endswith("_on") else one_line(str(value))


def _counted(locale: str, forms: tuple[str, ...], count: int) -> str:
    return plural(locale, count, forms).format(count=count)


def _plain(language: Language, text: Text, words: Mapping[str, str], link: str) -> str:
    parts = (language.greeting, *text.paragraphs)
    body = "\n\n".join(part.format_map(words) for part in parts)
    return f"{body}\n\n{language.account}:\n{link}\n\n-- \n{language.closing.format_map(words)}\n"


def _page(locale: str, language: Language, text: Text, words: Mapping[str, str], *, link: str, subject: str) -> str:
    # <bdi>: a title in Hebrew or with overriding marks can't turn the sentence around it.
    escaped = {name: f"<bdi>{html.escape(word)}</bdi>" for name, word in words.items()}
    parts = (language.greeting, *text.paragraphs)
    return _PAGE.format(
        locale=locale,
        subject=html.escape(subject),
        paragraphs="\n".join(f"<p>{html.escape(part, quote=False).format_map(escaped)}</p>" for part in parts),
        link=html.escape(link),
        account=html.escape(language.account),
        closing=html.escape(language.closing, quote=False).format_map(escaped),
    )
