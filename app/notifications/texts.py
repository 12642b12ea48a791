"""The words of the notices, in English and Russian; `{names}` are facts of the notice or phrases made of them."""

from dataclasses import dataclass
from typing import Final

from app.notifications.models import Kind


@dataclass(frozen=True, slots=True)
class Text:
    subject: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """What surrounds every text, and the phrases with numbers in their plural forms (app/core/i18n.py)."""

    greeting: str
    account: str
    closing: str
    days: tuple[str, ...]
    renewals: tuple[str, ...]
    no_renewals: str
    texts: dict[Kind, Text]


ENGLISH: Final = Language(
    greeting="Hello {name},",
    account="Your loans and bookings",
    closing="{library}. This letter was written by the library's computer; answers to it are not read.",
    days=("{count} day", "{count} days"),
    renewals=("You can renew it {count} more time.", "You can renew it {count} more times."),
    no_renewals="It can't be renewed any more.",
    texts={
        Kind.BOOKING_READY: Text(
            "Ready for you: {title}",
            (
                "“{title}” is waiting for you on the hold shelf ({branch}).",
                "Please collect it by {pickup_until_on}. After that the next reader gets it.",
            ),
        ),
        Kind.BOOKING_EXPIRED: Text(
            "Your booking has ended: {title}",
            (
                "“{title}” was kept for you, but was not collected in time, so your booking has ended.",
                "If you still want it, book it again.",
            ),
        ),
        Kind.DUE_SOON: Text("Due on {due_on}: {title}", ("“{title}” is due back on {due_on}.", "{renewals}")),
        Kind.OVERDUE_1: Text(
            "Overdue: {title}",
            ("“{title}” was due back on {due_on}, {days} ago.", "Please bring it back, or renew it if you can."),
        ),
        Kind.OVERDUE_2: Text(
            "Second reminder: {title}",
            (
                "“{title}” was due back on {due_on}, {days} ago, and we have reminded you once.",
                "Please bring it back; other readers may be waiting for it.",
            ),
        ),
        Kind.OVERDUE_3: Text(
            "Last reminder: {title}",
            (
                "“{title}” was due back on {due_on}, {days} ago. This is our last reminder.",
                "If it has been lost, please tell us: we will find a way.",
            ),
        ),
        Kind.RECALL: Text(
            "Wanted back earlier: {title}",
            (
                "The library needs “{title}” back earlier than agreed.",
                "Please return it by {due_on}. Thank you for understanding.",
            ),
        ),
    },
)

RUSSIAN: Final = Language(
    greeting="Здравствуйте, {name}!",
    account="Ваши книги и заказы",
    closing="{library}. Письмо составлено автоматически, ответы на него никто не читает.",
    days=("{count} день", "{count} дня", "{count} дней"),
    renewals=(
        "Срок можно продлить ещё {count} раз.",
        "Срок можно продлить ещё {count} раза.",
        "Срок можно продлить ещё {count} раз.",
    ),
    no_renewals="Продлить срок больше нельзя.",
    texts={
        Kind.BOOKING_READY: Text(
            "Можно забрать: {title}",
            (
                "Книга «{title}» отложена для вас ({branch}).",
                "Заберите её, пожалуйста, не позднее {pickup_until_on}. Потом её получит следующий читатель.",
            ),
        ),
        Kind.BOOKING_EXPIRED: Text(
            "Заказ снят: {title}",
            (
                "Книга «{title}» была отложена для вас, но её не забрали вовремя, и заказ снят.",
                "Если она ещё нужна, закажите её снова.",
            ),
        ),
        Kind.DUE_SOON: Text("Вернуть {due_on}: {title}", ("Книгу «{title}» нужно вернуть {due_on}.", "{renewals}")),
        Kind.OVERDUE_1: Text(
            "Срок истёк: {title}",
            (
                "Книгу «{title}» нужно было вернуть {due_on}, {days} назад.",
                "Верните её, пожалуйста, или продлите срок, если это возможно.",
            ),
        ),
        Kind.OVERDUE_2: Text(
            "Второе напоминание: {title}",
            (
                "Книгу «{title}» нужно было вернуть {due_on}, {days} назад; мы уже напоминали.",
                "Верните её, пожалуйста: её могут ждать другие читатели.",
            ),
        ),
        Kind.OVERDUE_3: Text(
            "Последнее напоминание: {title}",
            (
                "Книгу «{title}» нужно было вернуть {due_on}, {days} назад. Это последнее напоминание.",
                "Если книга потерялась, скажите нам: мы что-нибудь придумаем.",
            ),
        ),
        Kind.RECALL: Text(
            "Просим вернуть раньше: {title}",
            (
                "Книга «{title}» понадобилась библиотеке раньше срока.",
                "Верните её, пожалуйста, не позднее {due_on}. Спасибо за понимание.",
            ),
        ),
    },
)

LANGUAGES: Final = {"en": ENGLISH, "ru": RUSSIAN}
