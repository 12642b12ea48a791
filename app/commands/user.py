"""`library user`: accounts made, listed and changed by whoever runs the service."""

import json
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.service import accounts
from app.branches import service as branches
from app.commands import database as opened
from app.commands import tables
from app.core.config import load_settings
from app.core.db import Database
from app.core.errors import Conflict, NotFound
from app.core.schemas import ShortLine
from app.core.security import hash_password, new_password
from app.users import queries
from app.users import service as users
from app.users.models import Role, User
from app.users.schemas import Email, Password, UserRead

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

EmailOption = Annotated[
    str, typer.Option("--email", metavar="EMAIL", help="The address with which the person signs in.")
]
RoleOption = Annotated[
    Role, typer.Option("--role", help="reader borrows; librarian runs the desk; admin may do everything.")
]
BranchOption = Annotated[
    list[str],
    typer.Option(
        "--branch",
        metavar="BRANCH",
        help="A branch where the librarian works; repeat it for more. Without it: every open branch.",
    ),
]
PasswordOption = Annotated[
    str,
    typer.Option(
        help="At least 10 characters; - reads it from standard input. Other users of this machine can see what is"
        " typed here; without it one is made and printed once.",
        metavar="PASSWORD",
        show_default=False,
    ),
]


class AccountExists(Conflict):
    code, detail = (
        "email_taken",
        "There is an account {email} already; `library user set-role` and `library user set-password` change it.",
    )


class NoSuchAccount(NotFound):
    code, detail = "user_not_found", "There is no account {email}; `library user list` shows those there are."


@app.callback()
def user() -> None:
    """Make accounts, list them, give them a role or a new password."""


@app.command()
def create(
    email: EmailOption,
    role: RoleOption,
    password: PasswordOption = "",
    name: Annotated[
        str,
        typer.Option(
            help="The person's name; without it, what stands before the @.", metavar="NAME", show_default=False
        ),
    ] = "",
    branch: BranchOption = [],  # noqa: B006  # typer reads the default and copies it
) -> None:
    """Make an account.

    \b
    Examples:
      library user create --email ada@library.test --role admin
      library user create --email ben@library.test --role librarian --branch main --name "Ben Ash"
      library user create --email eve@library.test --role reader --password - < password.txt
    """
    address = _valid(Email, email, option="--email")
    full_name = _valid(ShortLine, name or address.partition("@")[0], option="--name")
    secret, is_made = _password(password)
    _check_branches(role, branch)
    settings = load_settings()

    async def work(database: Database) -> UserRead:
        if not is_made:
            accounts.check_password(secret, email=address, full_name=full_name, library=settings.project_name)
        password_hash = await hash_password(secret)
        async with database.transaction() as session:
            try:
                made = await users.create(
                    session,
                    email=address,
                    password_hash=password_hash,
                    full_name=full_name,
                    role=role,
                    branches=await _branches(session, role, branch),
                    now=datetime.now(UTC),
                )
            except users.EmailTaken:
                raise AccountExists(email=address) from None
            _note(session, "user_created", made)
            return await users.read(session, made)

    made = opened.run(settings, work)
    typer.echo(f"Made {_described(made)}, card {made.card_number}.")
    _print_password(secret, is_made=is_made)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 100,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List accounts, the newest first.

    \b
    Examples:
      library user list
      library user list --limit 1000 --json
    """

    async def work(database: Database) -> list[UserRead]:
        async with database.reading() as session:
            return [await users.read(session, found) for found in await queries.newest(session, limit=limit)]

    found = opened.run(load_settings(), work)
    if as_json:
        typer.echo(json.dumps([account.model_dump(mode="json") for account in found], ensure_ascii=False, indent=2))
    elif found:
        rows = [
            (account.email, account.full_name, account.role, ", ".join(account.branches), account.card_number)
            for account in found
        ]
        tables.show(("E-mail", "Name", "Role", "Branches", "Card"), rows)
    else:
        typer.echo("There are no accounts yet; `library user create` makes one.")


@app.command("set-role")
def set_role(
    email: EmailOption,
    role: RoleOption,
    branch: BranchOption = [],  # noqa: B006  # typer reads the default and copies it
) -> None:
    """Give an account another role.

    It counts from the next request on; nobody needs to sign in again.

    \b
    Examples:
      library user set-role --email ben@library.test --role librarian --branch main --branch river
      library user set-role --email ben@library.test --role reader
    """
    _check_branches(role, branch)

    async def work(database: Database) -> UserRead:
        async with database.transaction() as session:
            user = await _found(session, email)
            changes = {"role": role, "branches": await _branches(session, role, branch)}
            changed = await users.change(session, user_id=user.id, changes=changes, if_match=None)
            _note(session, "user_changed", user, fields=sorted(changes))
            return changed

    typer.echo(f"Now {_described(opened.run(load_settings(), work))}.")


@app.command("set-password")
def set_password(email: EmailOption, password: PasswordOption = "") -> None:
    """Give an account a new password and sign it out everywhere.

    Its API keys and mailed links end too.

    \b
    Examples:
      library user set-password --email ada@library.test
      library user set-password --email ada@library.test --password - < password.txt
    """
    secret, is_made = _password(password)
    settings = load_settings()

    async def work(database: Database) -> None:
        password_hash = await hash_password(secret)
        async with database.transaction() as session:
            user = await _found(session, email)
            if not is_made:
                library = settings.project_name
                accounts.check_password(secret, email=user.email, full_name=user.full_name, library=library)
            await accounts.set_password(session, user, password_hash=password_hash, keep_session=None, mailer=None)
            _note(session, "user_changed", user, fields=["password"])

    opened.run(settings, work)
    typer.echo(f"{email} has a new password and is signed out everywhere.")
    _print_password(secret, is_made=is_made)


async def _found(session: AsyncSession, email: str) -> User:
    user = await queries.by_email(session, email)
    if user is None:
        raise NoSuchAccount(email=email)
    return user


def _note(session: AsyncSession, action: str, user: User, **data: object) -> None:
    audit.note(session, action, actor=audit.SYSTEM, subject=user.pseudonym, now=datetime.now(UTC), data=data)


def _valid(kind: Any, value: str, *, option: str) -> str:
    try:
        text: str = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("String ")
        raise typer.BadParameter(problem, param_hint=option) from None
    return text


def _password(given: str) -> tuple[str, bool]:
    """The password, and whether it was made here."""
    if not given:
        return new_password(), True
    return _valid(Password, sys.stdin.readline().rstrip("\r\n") if given == "-" else given, option="--password"), False


def _print_password(secret: str, *, is_made: bool) -> None:
    if is_made:
        typer.echo(f"Password: {secret}\nIt is not kept anywhere else; note it now.")


def _check_branches(role: Role, named: Collection[str]) -> None:
    if named and role is not Role.LIBRARIAN:
        raise typer.BadParameter("only a librarian works in branches", param_hint="--branch")


async def _branches(session: AsyncSession, role: Role, named: Collection[str]) -> list[str]:
    """The branches named, each checked; for a librarian without any, every open one."""
    for branch_id in named:
        await branches.check_open(session, branch_id)
    if named or role is not Role.LIBRARIAN:
        return sorted(set(named))
    return [branch.id for branch in await branches.all_open(session)]


def _described(account: UserRead) -> str:
    working_in = f" in {', '.join(account.branches)}" if account.branches else ""
    return f"{account.email}, {account.role}{working_in}"
