"""What pages say: English sentences are the keys of `locale/ru.json`; what codes are called stands in `en.json` too."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from app.core.errors import AppError
from app.core.i18n import format_date, plural
from app.core.schemas import Money

CATALOGUES: Final = Path(__file__).with_name("locale")
NO_BREAK: Final = "\u00a0"
_MINOR_DIGITS: Final = 2

_WEEKDAYS: Final = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "ru": ("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"),
}
# ISO 639-2/B as it stands in catalogues, and as browsers want it.
LANGUAGES: Final = {
    "eng": ("en", "English"), "rus": ("ru", "Русский"), "ger": ("de", "Deutsch"), "fre": ("fr", "Français"),
    "spa": ("es", "Español"), "ita": ("it", "Italiano"), "por": ("pt", "Português"), "pol": ("pl", "Polski"),
    "ukr": ("uk", "Українська"), "chi": ("zh", "中文"), "jpn": ("ja", "日本語"), "lat": ("la", "Latina"),
    "gre": ("el", "Ελληνικά"), "grc": ("grc", "Ἑλληνική"), "heb": ("he", "עברית"), "ara": ("ar", "العربية"),
    "dut": ("nl", "Nederlands"), "swe": ("sv", "Svenska"), "nor": ("no", "Norsk"), "dan": ("da", "Dansk"),
    "fin": ("fi", "Suomi"), "cze": ("cs", "Čeština"), "hun": ("hu", "Magyar"), "tur": ("tr", "Türkçe"),
}  # fmt: skip


@cache
def catalogue(locale: str) -> dict[str, Any]:
    """The sentences of a language by their English, and words by kind and code."""
    path = CATALOGUES / f"{locale}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


class Words:
    """Sentences, dates and amounts in one language and time zone."""

    def __init__(self, locale: str, timezone: str) -> None:
        self.locale = locale
        self._catalogue = catalogue(locale)
        self._zone = ZoneInfo(timezone)

    def say(self, sentence: str, /, **facts: Any) -> str | Markup:
        """The sentence in this language; facts in `{names}` are escaped where one of them is markup."""
        said = self._catalogue.get(sentence, sentence)
        return _filled(said, facts)

    def term(self, kind: str, value: str | int) -> str:
        """A word of the library's, such as the status of a copy; one that the library made up stands as it is."""
        return str(self._catalogue.get(f"{kind} {value}", value))

    def count(self, number: int, one: str, many: str, /, **facts: Any) -> str | Markup:
        """A sentence with a number in the form that it takes; `{n}` is the number."""
        forms = tuple(self._catalogue.get(many, (one, many)))
        return _filled(plural(self.locale, number, forms), {"n": f"{number:,}".replace(",", NO_BREAK), **facts})

    def refusal(self, error: AppError) -> str:
        """What a refusal says."""
        return error.said(self.locale)

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(self._zone)

    def day(self, when: date | datetime) -> str:
        """`30 November 2026`"""
        return format_date(self.locale, self._date(when)).replace(" ", NO_BREAK)

    def short_day(self, when: date | datetime) -> str:
        """`30 November`, with the year where it is another than now's."""
        day = self._date(when)
        words = format_date(self.locale, day).split(" ")
        return NO_BREAK.join(words if day.year != datetime.now(self._zone).year else words[:2])

    def weekday(self, when: date | datetime) -> str:
        return _WEEKDAYS[self.locale][self._date(when).weekday()]

    def time(self, when: datetime) -> str:
        """`30 November, 14:05`"""
        return f"{self.short_day(when)}, {self.local(when):%H:%M}"

    def money(self, amount: Money) -> str:
        """`12.50 EUR`, `12,50 EUR`"""
        units = Decimal(amount.amount_minor).scaleb(-_MINOR_DIGITS)
        text = f"{units:.2f}"
        return f"{text.replace('.', ',') if self.locale == 'ru' else text}{NO_BREAK}{amount.currency}"

    def language(self, code: str) -> str:
        return LANGUAGES[code][1] if code in LANGUAGES else code

    def _date(self, when: date | datetime) -> date:
        return self.local(when).date() if isinstance(when, datetime) else when

    @property
    def helpers(self) -> dict[str, Callable[..., Any]]:
        """What templates call."""
        return {
            "t": self.say, "term": self.term, "n": self.count, "day": self.day, "short_day": self.short_day,
            "weekday": self.weekday, "time": self.time, "local": self.local, "money": self.money,
            "language": self.language,
            "lang_of": lang_of, "refusal": self.refusal,
        }  # fmt: skip


def lang_of(codes: list[str] | tuple[str, ...]) -> str:
    """The HTML `lang` of a book's title, empty when the catalogue doesn't say."""
    return LANGUAGES[codes[0]][0] if codes and codes[0] in LANGUAGES else ""


def _filled(sentence: str, facts: dict[str, Any]) -> str | Markup:
    if not facts:
        return sentence
    if any(isinstance(value, Markup) for value in facts.values()):
        return Markup(escape(sentence)).format(**facts)  # noqa: S704  # facts that are no markup are escaped by format
    return sentence.format(**facts)


words_for = cache(partial(Words))
