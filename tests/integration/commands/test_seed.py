"""The demonstration library: what is in it, that it is the same every time, and that it never meddles."""

import csv
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from app.books.models import Book
from app.branches.models import Branch
from app.commands.demo import library as demo
from app.commands.demo import people, shelves
from app.copies.models import Copy
from app.core.db import Database
from app.policies.models import Policy
from app.users.models import User
from app.users.service import luhn_digit
from tests.integration.commands.command_line import ROOT, CommandLine, Service

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGN_IN = {"admin", "librarian", "librarian.river", "reader", "reader2"}


def passwords_in(text: str) -> dict[str, str]:
    return {row.split()[0]: row.split()[1] for row in text.splitlines() if "@library.test " in row}


def everything(service: Service, path: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = service.get(f"{path}limit=100{cursor}").json()
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


def test_the_library_is_whole_and_its_people_sign_in(library: CommandLine) -> None:
    said = library.done("seed")
    assert said.startswith("Put in 2 branches, 5 policies, 28 accounts, 379 books, 906 copies.\n")
    passwords = passwords_in(said)
    assert set(passwords) == {f"{name}@library.test" for name in SIGN_IN}
    with library.serving() as service:
        books = everything(service, "/api/v1/books?include=availability&")
        assert len(books) == 379
        assert sum(book["availability"]["total"] for book in books) == 906
        assert {"eng", "rus", "fre"} <= {language for book in books for language in book["languages"]}
        assert all(number["valid"] for book in books for number in book["identifiers"])
        for email, password in passwords.items():
            assert service.can_sign_in(email, password), email
        assert not service.can_sign_in("reader3@library.test", demo.NO_PASSWORD)
        assert service.get("/api/v1/books?q=мастер маргарита").json()["items"]
        branches = service.get("/api/v1/branches").json()["items"]
        assert [(branch["id"], branch["name"]) for branch in branches] == [
            ("main", "Main library"),
            ("river", "Riverside branch"),
        ]


def test_a_library_that_holds_something_is_left_alone(library: CommandLine) -> None:
    library.done("user", "create", "--email", "ada@library.test", "--role", "admin")
    assert library.refused("seed").startswith("This library holds accounts already, and the demonstration goes only")
    assert library.done("seed", "--if-empty") == ""
    with library.serving() as service:
        assert service.get("/api/v1/books").json()["items"] == []


def test_a_second_seed_is_refused_and_if_empty_is_quiet(library: CommandLine) -> None:
    library.done("seed")
    assert library.refused("seed").startswith("This library holds books already")
    assert library.done("seed", "--if-empty") == ""


def test_of_two_seeds_at_once_one_fills_the_library(library: CommandLine) -> None:
    running = [library.start("seed", "--if-empty") for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0], said
    assert said[0] == ""
    assert said[1].startswith("Put in 2 branches")


def test_production_gets_no_demonstration(library: CommandLine) -> None:
    sentence = "The demonstration library is not for production, and ENVIRONMENT is production (the default)."
    for command in (["seed"], ["seed", "--if-empty"], ["serve", "--demo", "--port", "0"]):
        assert library.refused(*command, ENVIRONMENT="production").startswith(sentence)
    assert library.done("seed", "--if-empty", ENVIRONMENT="staging").startswith("Put in")


async def interrupted(database: Database) -> None:
    async with database.transaction() as session:
        await demo.fill(session, password_hashes={}, now=NOW)
        raise ZeroDivisionError


@pytest.mark.anyio
async def test_an_interrupted_seed_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await interrupted(database)
    async with database.reading() as session:
        for table in (Book, Copy, User, Policy):
            assert await session.scalar(select(func.count()).select_from(table)) == 0
        assert list(await session.scalars(select(Branch.id))) == ["main"]


@pytest.mark.anyio
async def test_copies_cards_and_terms_are_those_of_the_files(database: Database) -> None:
    async with database.transaction() as session:
        await demo.fill(session, password_hashes={}, now=NOW)
    async with database.reading() as session:
        copies = (await session.scalars(select(Copy).order_by(Copy.id))).all()
        people_found = (await session.scalars(select(User).order_by(User.card_number))).all()
        terms = (await session.scalars(select(Policy).order_by(Policy.id))).all()
        titles = list(await session.scalars(select(Book.title).order_by(Book.id)))
    with (ROOT / "app" / "commands" / "demo" / "books.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert titles == [row["title"] for row in rows]
    assert [copy.barcode for copy in copies] == [str(3_000_000_001 + index) for index in range(906)]
    assert {copy.created_at for copy in copies} == {NOW}
    in_branches = {branch: sum(copy.branch_id == branch for copy in copies) for branch in ("main", "river")}
    assert in_branches == {"main": 601, "river": 305}
    assert {copy.item_type for copy in copies} == {"book", "reference"}
    assert (copies[0].call_number, copies[0].shelf_location) == ("823.7 AUS", "Literature")
    assert "891.733 ТУР" in {copy.call_number for copy in copies}
    assert [account.card_number for account in people_found] == [account.card_number for account in people.accounts()]
    assert all(int(account.card_number[-1]) == luhn_digit(account.card_number[:-1]) for account in people_found)
    assert {account.category for account in people_found} == {"adult", "student", "child"}
    assert [(row.category, row.item_type, row.loan_days) for row in terms] == [
        (None, None, 28),
        ("child", None, 28),
        ("student", None, 42),
        ("staff", None, 84),
        (None, "reference", 0),
    ]


def test_the_shelves_are_the_same_every_time() -> None:
    titles = shelves.titles()
    assert titles == shelves.titles()
    assert list(shelves.copies(titles)) == list(shelves.copies(titles))
    assert len({copy.barcode for _, copy in shelves.copies(titles)}) == 906
