"""The demonstration's accounts: five that a visitor signs in with, and readers who only stand in the lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.commands.demo.shelves import MAIN, RIVER
from app.users.models import Role
from app.users.service import luhn_digit

FIRST_CARD: Final = 200_000_000_001
DOMAIN: Final = "library.test"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody of the demonstration; only those with `signs_in` get a password."""

    email: str
    full_name: str
    role: Role
    card_number: str
    category: str = "adult"
    home_branch: str = MAIN
    branches: tuple[str, ...] = ()
    signs_in: bool = False


_STAFF: Final = (
    ("admin", "Alex Harbour", Role.ADMIN, ()),
    ("librarian", "Robin Ashby", Role.LIBRARIAN, (MAIN,)),
    ("librarian.river", "Kim Waters", Role.LIBRARIAN, (RIVER,)),
)
_READERS: Final = (
    ("Jamie Meadows", "adult"), ("Мария Липова", "adult"), ("Sam Fielding", "student"), ("Олег Берёзкин", "adult"),
    ("Noor Hillside", "child"), ("Dana Orchard", "adult"), ("Полина Рощина", "student"), ("Lou Marsh", "adult"),
    ("Taylor Quill", "child"), ("Игорь Полевой", "adult"), ("Ellis Rowan", "student"), ("Ira Thistle", "adult"),
    ("Вера Ключевая", "child"), ("Morgan Dale", "adult"), ("Jules Fern", "student"), ("Артём Ручьёв", "adult"),
    ("Casey Lark", "child"), ("Micah Stone", "adult"), ("Нина Озерова", "adult"), ("Remy Vale", "student"),
    ("Sasha Clover", "child"), ("Глеб Сосновый", "student"), ("Avery Brook", "adult"), ("Toni Linden", "adult"),
    ("Юлия Заречная", "adult"),
)  # fmt: skip


def accounts() -> Iterator[Account]:
    """Staff first, then 25 readers; cards count up and end in their check digit."""
    for index, (name, full_name, role, branches) in enumerate(_STAFF):
        yield Account(f"{name}@{DOMAIN}", full_name, role, _card(index), branches=branches, signs_in=True)
    for number, (full_name, category) in enumerate(_READERS, start=1):
        yield Account(
            f"reader{number if number > 1 else ''}@{DOMAIN}",
            full_name,
            Role.READER,
            _card(len(_STAFF) + number - 1),
            category=category,
            home_branch=RIVER if number % 3 == 0 else MAIN,
            signs_in=number <= 2,  # noqa: PLR2004  # two are enough to wait for each other's books
        )


def _card(index: int) -> str:
    digits = str(FIRST_CARD + index)
    return digits + str(luhn_digit(digits))
