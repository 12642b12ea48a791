"""The demonstration's books and copies, read from books.csv; the same file gives the same shelves every time."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.books.schemas import BookCreate, Classification, Contributor, IdentifierCreate
from app.copies.schemas import CopyCreate

BOOKS: Final = Path(__file__).with_name("books.csv")
FIRST_BARCODE: Final = 3_000_000_001
MAIN: Final = "main"
RIVER: Final = "river"
SURNAME_LETTERS: Final = 3
BRANCHES: Final = (MAIN, MAIN, RIVER)
CHILDREN: Final = frozenset({"Children's stories", "Fairy tales", "Young adult fiction"})
SHELVES: Final = ("General", "Philosophy", "Religion", "Society", "Language", "Science", "Technology", "Arts",
                  "Literature", "History")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Title:
    """A book and how many copies of it the library has."""

    book: BookCreate
    copies: int

    @property
    def dewey(self) -> str:
        return self.book.classifications[0].value


def titles() -> list[Title]:
    """Every book of the demonstration, in the file's order."""
    with BOOKS.open(encoding="utf-8", newline="") as file:
        return [_title(row) for row in csv.DictReader(file)]


def copies(shelved: list[Title]) -> Iterator[tuple[int, CopyCreate]]:
    """(index of the title, copy) for every copy: barcodes count up, two of three stand in the main library."""
    barcode = FIRST_BARCODE
    for index, title in enumerate(shelved):
        for number in range(title.copies):
            branch = BRANCHES[(index + number) % len(BRANCHES)]
            yield index, _copy(title, barcode=barcode, branch=branch, number=number)
            barcode += 1


def _title(row: dict[str, str]) -> Title:
    contributors = (name.rpartition("|") for name in _list(row["contributors"]))
    book = BookCreate(
        title=row["title"],
        subtitle=row["subtitle"] or None,
        contributors=[Contributor(name=name, role=role) for name, _, role in contributors],
        publisher=row["publisher"] or None,
        place=row["place"] or None,
        year=int(row["year"]),
        languages=_list(row["languages"]),
        identifiers=[IdentifierCreate(type="isbn", value=row["isbn"])] if row["isbn"] else [],
        series=_list(row["series"]),
        subjects=_list(row["subjects"]),
        classifications=[Classification(scheme="ddc", value=row["classification"])],
    )
    return Title(book, int(row["copies"]))


def _copy(title: Title, *, barcode: int, branch: str, number: int) -> CopyCreate:
    # Of a work of learning that the library has twice or more, the first copy never leaves the house.
    is_reference = number == 0 and title.copies > 1 and not title.dewey.startswith("8")
    is_for_children = not CHILDREN.isdisjoint(title.book.subjects)
    shelf = "Children" if is_for_children else SHELVES[int(title.dewey[0])]
    return CopyCreate(
        barcode=str(barcode),
        branch=branch,
        call_number=_call_number(title),
        shelf_location=f"Reference, {shelf}" if is_reference else shelf,
        item_type="reference" if is_reference else "book",
        price_minor=900 + barcode % 8 * 350,
    )


def _call_number(title: Title) -> str:
    contributors = title.book.contributors
    surname = contributors[0].name if contributors else title.book.title
    letters = [character for character in surname if character.isalpha()][:SURNAME_LETTERS]
    return f"{title.dewey} {''.join(letters).upper()}"


def _list(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]
