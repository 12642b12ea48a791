"""`library user`: accounts made on the command line sign in over HTTP."""

import json
import re

import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.core.db import Database
from app.users.models import User
from tests.integration.commands.command_line import CommandLine, Service

PASSWORD = "a password for tests"


def role_of(service: Service, email: str, password: str) -> tuple[str, list[str]]:
    pair = service.post("/api/v1/auth/login", {"email": email, "password": password}).json()
    me = service.get("/api/v1/auth/me", token=pair["access_token"]).json()
    return me["role"], me["branches"]


def printed_password(text: str) -> str:
    found = re.search(r"^Password: ([a-z2-9]{5}-[a-z2-9]{5}-[a-z2-9]{5})$", text, re.MULTILINE)
    assert found, text
    assert "It is not kept anywhere else; note it now." in text
    return found.group(1)


def test_accounts_made_here_sign_in_with_their_role(library: CommandLine) -> None:
    with library.serving() as service:
        said = library.done("user", "create", "--email", "Ada@Library.test", "--role", "admin")
        assert said.startswith("Made ada@library.test, admin, card ")
        made = printed_password(said)
        said = library.done(
            "user", "create", "--email", "ben@library.test", "--role", "librarian", "--password", PASSWORD
        )
        assert "Made ben@library.test, librarian in main, card " in said
        assert PASSWORD not in said
        library.done(
            "user",
            "create",
            "--email",
            "eve@library.test",
            "--role",
            "reader",
            "--password",
            "-",
            given=f"{PASSWORD}\n",
        )
        assert role_of(service, "ada@library.test", made) == ("admin", [])
        assert role_of(service, "ben@library.test", PASSWORD) == ("librarian", ["main"])
        assert role_of(service, "eve@library.test", PASSWORD) == ("reader", [])


def test_a_new_role_counts_at_once_and_a_new_password_ends_every_session(library: CommandLine) -> None:
    library.done("user", "create", "--email", "ben@library.test", "--role", "reader", "--password", PASSWORD)
    with library.serving() as service:
        pair = service.post("/api/v1/auth/login", {"email": "ben@library.test", "password": PASSWORD}).json()
        said = library.done(
            "user", "set-role", "--email", "BEN@library.test", "--role", "librarian", "--branch", "main"
        )
        assert said == "Now ben@library.test, librarian in main.\n"
        me = service.get("/api/v1/auth/me", token=pair["access_token"]).json()
        assert (me["role"], me["branches"]) == ("librarian", ["main"])
        said = library.done("user", "set-password", "--email", "ben@library.test")
        assert said.startswith("ben@library.test has a new password and is signed out everywhere.\n")
        assert service.get("/api/v1/auth/me", token=pair["access_token"]).status_code == 401
        assert service.post("/api/v1/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
        assert not service.can_sign_in("ben@library.test", PASSWORD)
        assert service.can_sign_in("ben@library.test", printed_password(said))
        library.done("user", "set-role", "--email", "ben@library.test", "--role", "reader")
    [ben] = json.loads(library.done("user", "list", "--json"))
    assert (ben["role"], ben["branches"]) == ("reader", [])


def test_the_list_shows_everybody_the_newest_first(library: CommandLine) -> None:
    assert library.done("user", "list") == "There are no accounts yet; `library user create` makes one.\n"
    for name in ("ada", "ben"):
        library.done("user", "create", "--email", f"{name}@library.test", "--role", "reader", "--name", f"{name} Ash")
    heading, *rows = library.done("user", "list").splitlines()
    assert heading.split() == ["E-mail", "Name", "Role", "Branches", "Card"]
    assert [row.split()[:4] for row in rows] == [
        ["ben@library.test", "ben", "Ash", "reader"],
        ["ada@library.test", "ada", "Ash", "reader"],
    ]
    assert "password" not in library.done("user", "list", "--json")
    assert len(library.done("user", "list", "--limit", "1").splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "--email", "nobody", "--role", "admin"], "--email: must be an e-mail address such as"),
        (["create", "--email", "a@b.test", "--role", "king"], "'king' is not one of"),
        (["create", "--role", "admin"], "--email"),
        (["create", "--email", "a@b.test", "--role", "admin", "--password", "short"], "at least 10 characters"),
        (["create", "--email", "a@b.test", "--role", "admin", "--password", "x" * 129], "at most 128 characters"),
        (["create", "--email", "a@b.test", "--role", "admin", "--name", "a\nb"], "--name: must be one line"),
        (["create", "--email", "a@b.test", "--role", "reader", "--branch", "main"], "only a librarian works in"),
        (["set-role", "--email", "a@b.test", "--role", "admin", "--branch", "main"], "only a librarian works in"),
        (["set-password", "--email", "a@b.test", "--password", "short"], "at least 10 characters"),
    ],
)
def test_what_cant_be_an_account_is_refused_before_anything_opens(
    bare: CommandLine, arguments: list[str], sentence: str
) -> None:
    assert sentence in bare.refused("user", *arguments, code=2)
    assert not list(bare.folder.iterdir())


def test_a_password_that_is_easily_guessed_is_refused(library: CommandLine) -> None:
    create = ("user", "create", "--email", "benjamin@library.test", "--role", "reader")
    assert "attackers try first" in library.refused(*create, "--password", "1234567890")
    assert "made of your name" in library.refused(*create, "--password", "benjamin-benjamin")
    library.done(*create)
    again = ("user", "set-password", "--email", "benjamin@library.test")
    assert "attackers try first" in library.refused(*again, "--password", "1234567890")


def test_the_last_admin_stays_one(library: CommandLine) -> None:
    library.done("user", "create", "--email", "ada@library.test", "--role", "admin")
    sentence = library.refused("user", "set-role", "--email", "ada@library.test", "--role", "reader")
    assert sentence == "This is the last admin who can sign in; make another one first.\n"


@pytest.mark.anyio
async def test_what_is_done_to_accounts_is_audited(library: CommandLine, database: Database) -> None:
    library.done("user", "create", "--email", "ben@library.test", "--role", "reader")
    library.done("user", "set-role", "--email", "ben@library.test", "--role", "librarian")
    library.done("user", "set-password", "--email", "ben@library.test")
    async with database.reading() as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.happened_at))).all()
        [ben] = await session.scalars(select(User))
    assert [(entry.action, entry.data) for entry in entries] == [
        ("user_created", {}),
        ("user_changed", {"fields": ["branches", "role"]}),
        ("user_changed", {"fields": ["password"]}),
    ]
    assert {(entry.actor, entry.actor_role, entry.subject) for entry in entries} == {(None, "system", ben.pseudonym)}


def test_what_contradicts_the_library_is_refused(library: CommandLine) -> None:
    create = ("user", "create", "--email", "ben@library.test", "--role", "librarian")
    assert library.refused(*create, "--branch", "mars") == "There is no open branch 'mars'.\n"
    library.done(*create)
    assert library.refused(*create).startswith("There is an account ben@library.test already; `library user set-role`")
    for command in (["set-role", "--role", "admin"], ["set-password"]):
        assert library.refused("user", *command, "--email", "eve@library.test") == (
            "There is no account eve@library.test; `library user list` shows those there are.\n"
        )
    sentence = library.refused(
        "user", "set-role", "--email", "ben@library.test", "--role", "librarian", "--branch", "mars"
    )
    assert sentence == "There is no open branch 'mars'.\n"
    [ben] = json.loads(library.done("user", "list", "--json"))
    assert ben["branches"] == ["main"]
