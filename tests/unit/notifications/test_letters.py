"""Letters: every kind in both languages, and nothing that people typed acts on the mail or the page."""

import re
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser

import pytest

from app.core import mail
from app.core.config import Settings
from app.core.mail import Letter, Refused
from app.core.schemas import JsonObject
from app.notifications import letters
from app.notifications.letters import Addressee
from app.notifications.models import Kind
from app.notifications.texts import LANGUAGES

FACTS: JsonObject = {
    "title": "Dune",
    "branch": "Main library",
    "pickup_until_on": "2026-12-04",
    "due_on": "2026-11-20",
    "renewals_left": 2,
}
UGLY = (
    'O\'Reilly & Söhne: <html> for "beginners"',
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "{title} {0} {__class__} %s %(title)s ${title}",
    "Ёжик в тумане 🦔 日本語 שלום",
    "SELECT * FROM users; DROP TABLE users; --",
    "x" * 250,
    ". \n.",
)
SETTINGS = Settings(_env_file=None, email_from="desk@library.test", public_url="https://library.test/")


def written(kind: Kind, *, locale: str = "en", title: str = "Dune", name: str = "Ada") -> Letter:
    return letters.write(
        kind,
        FACTS | {"title": title},
        addressee=Addressee("ada@library.test", name, locale),
        library=SETTINGS.project_name,
        address=SETTINGS.address,
        today=date(2026, 11, 25),
    )


def arrived(letter: Letter) -> EmailMessage:
    """The letter as a mail program reads it."""
    composed = mail.compose(SETTINGS, letter, identity="<1@library.test>", now=datetime.now(UTC))
    received = message_from_bytes(composed.as_bytes(policy=SMTP), policy=SMTP)
    assert isinstance(received, EmailMessage)
    return received


class Reader(HTMLParser):
    """The elements of a page and the text that a person sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: list[str | None] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content


@pytest.mark.parametrize("locale", ["en", "ru"])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_written_in_both_languages_without_a_gap(kind: Kind, locale: str) -> None:
    letter = written(kind, locale=locale)
    message = arrived(letter)
    plain, page = part(message, "plain"), Reader(part(message, "html"))
    for text in (message["Subject"], plain, page.text):
        assert "Dune" in text
        assert "{" not in text
    assert "https://library.test/account" in plain
    assert page.links == ["https://library.test/account"]
    assert bool(re.search("[а-я]", plain)) is (locale == "ru")
    assert all(line in page.text for line in plain.splitlines() if "Dune" in line)


def test_both_languages_have_the_same_texts_with_the_same_facts() -> None:
    for kind in Kind:
        named = [
            sorted(re.findall(r"\{(\w+)\}", " ".join((text.subject, *text.paragraphs))))
            for text in (language.texts[kind] for language in LANGUAGES.values())
        ]
        assert named[0] == named[1], kind


def test_numbers_take_their_plural_forms() -> None:
    assert "20 November 2026, 5 days ago" in written(Kind.OVERDUE_1).text
    assert "20 ноября 2026 года, 5 дней назад" in written(Kind.OVERDUE_1, locale="ru").text
    assert "ещё 2 раза" in written(Kind.DUE_SOON, locale="ru").text


@pytest.mark.parametrize("locale", ["en", "ru"])
@pytest.mark.parametrize("ugly", UGLY)
def test_ugly_text_arrives_intact_and_inert(ugly: str, locale: str) -> None:
    message = arrived(written(Kind.BOOKING_READY, locale=locale, title=ugly, name=ugly))
    plain, page = part(message, "plain"), Reader(part(message, "html"))
    shown = " ".join(ugly.split())
    assert plain.count(shown) == 2
    assert page.text.count(shown) >= 2
    assert page.elements == {"html", "head", "meta", "title", "body", "p", "a", "bdi"}
    assert page.links == ["https://library.test/account"]


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x00"])
def test_no_text_can_begin_a_header_of_its_own(newline: str) -> None:
    evil = f"Dune{newline}Bcc: thief@library.test{newline}{newline}<b>body</b>"
    message = arrived(written(Kind.BOOKING_READY, title=evil, name=evil))
    assert message["Bcc"] is None
    assert message["Subject"] == "Ready for you: Dune Bcc: thief@library.test <b>body</b>"
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert message.get_all("To") == ["ada@library.test"]


def test_the_senders_name_may_hold_anything_but_another_header() -> None:
    for name in ('Die "Bücherei", Zweig <1>', "Библиотека № 3, зал", "a@b, c@d"):
        settings = SETTINGS.model_copy(update={"email_from_name": name})
        composed = mail.compose(settings, written(Kind.RECALL), identity="<1@library.test>", now=datetime.now(UTC))
        received = message_from_bytes(composed.as_bytes(policy=SMTP), policy=SMTP)
        [sender] = received["From"].addresses
        assert (sender.display_name, sender.addr_spec) == (name, "desk@library.test")


def test_headers_say_that_a_machine_wrote_and_how_to_stop_courtesies() -> None:
    reminder, overdue = arrived(written(Kind.DUE_SOON)), arrived(written(Kind.OVERDUE_1))
    assert reminder["Auto-Submitted"] == overdue["Auto-Submitted"] == "auto-generated"
    assert reminder["List-Unsubscribe"] == "<https://library.test/account>"
    assert overdue["List-Unsubscribe"] is None


def test_an_international_domain_is_written_in_ascii() -> None:
    letter = Letter(to="ада@библиотека.рф", subject="x", text="y")
    composed = mail.compose(SETTINGS, letter, identity="<1@library.test>", now=datetime.now(UTC))
    assert composed["To"].addresses[0].domain == "xn--80abaqnbpf2a4b.xn--p1ai"


@pytest.mark.parametrize("address", ["a b@library.test", "nobody", "a@b\r\nBcc: x@y", "@", "a@" + "x" * 300])
def test_what_cannot_be_an_address_is_refused(address: str) -> None:
    with pytest.raises(Refused):
        mail.compose(
            SETTINGS, Letter(to=address, subject="x", text="y"), identity="<1@library.test>", now=datetime.now(UTC)
        )
