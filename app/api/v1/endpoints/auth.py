"""Signing in and out over HTTP, and the account that is signed in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response, status
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import ValidationError

from app.api.cookies import FORGET
from app.api.credentials import SignInDesk, check_own_password, sign_in
from app.api.deps import (
    CurrentDatabase,
    CurrentLimits,
    CurrentSettings,
    Enrolling,
    FromHost,
    Letters,
    Now,
    OptionalIfMatch,
    PersonRequired,
    Reading,
    ScopeTooNarrow,
    SignedIn,
    SignedInPerson,
    Signer,
    Writing,
)
from app.api.errors import problems
from app.auth.passwords import PasswordTooCommon, PasswordTooPersonal
from app.auth.schemas import (
    Confirmation,
    Credentials,
    MailSent,
    MfaRequired,
    RefreshRequest,
    Registration,
    TokenPair,
)
from app.auth.service import accounts, factors, gate, sessions
from app.branches import service as branches
from app.core.errors import AppError, Unauthorized
from app.core.security import hash_password
from app.core.versioning import VersionChanged, etag
from app.users import queries as user_queries
from app.users import service as users
from app.users.schemas import UserRead, UserUpdate

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/register",
    status_code=status.HTTP_201_CREATED,
    responses={
        **problems(
            users.EmailTaken,
            accounts.RegistrationClosed,
            PasswordTooCommon,
            PasswordTooPersonal,
            gate.TooManyRegistrations,
            gate.TooManyMails,
        ),
        202: {"model": MailSent, "description": "REGISTRATION=verified: a mail tells the rest"},
    },
)
async def register(
    data: Registration,
    settings: CurrentSettings,
    database: CurrentDatabase,
    mailer: Letters,
    limits: CurrentLimits,
    host: FromHost,
    now: Now,
    response: Response,
) -> UserRead | MailSent:
    """Make a reader's account with a card and sign in at once; or, if the library verifies addresses, ask by mail."""
    if settings.registration == "closed":
        raise accounts.RegistrationClosed
    accounts.check_password(data.password, email=data.email, full_name=data.full_name, library=settings.project_name)
    if settings.registration == "open":
        await gate.admit_registration(limits, host=host)
        password_hash = await hash_password(data.password)
        async with database.transaction() as session:
            user = await accounts.register(session, data=data, password_hash=password_hash, now=now)
            made = await users.read(session, user)
        await gate.registration_succeeded(limits, host=host)
        return made
    is_mail_due = await gate.admit_mail(limits, email=data.email, host=host)
    password_hash = await hash_password(data.password)
    if is_mail_due:
        async with database.transaction() as session:
            await accounts.ask_to_register(session, data=data, password_hash=password_hash, mailer=mailer, now=now)
    response.status_code = status.HTTP_202_ACCEPTED
    return MailSent(status="mail_sent")


@router.post("/login", responses=problems(accounts.WrongCredentials, gate.TooManyLogins))
async def login(data: Credentials, desk: SignInDesk) -> TokenPair | MfaRequired:
    """Exchange address and password for an access token and a refresh token, or for a sign-in that waits for a code."""
    return await sign_in(data, desk)


@router.post("/token", responses=problems(accounts.WrongCredentials, gate.TooManyLogins))
async def login_form(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], desk: SignInDesk
) -> TokenPair | MfaRequired:
    """The same for OAuth2's password form, which the interactive documentation uses."""
    try:
        credentials = Credentials(email=form.username, password=form.password)
    except ValidationError:  # nobody has such an address or password
        raise accounts.WrongCredentials from None
    return await sign_in(credentials, desk)


@router.post("/refresh", responses=problems(sessions.InvalidRefreshToken, sessions.AlreadyRefreshed))
async def refresh(
    data: RefreshRequest, database: CurrentDatabase, signer: Signer, mailer: Letters, now: Now
) -> TokenPair:
    """Exchange the refresh token for a new pair; each works once, and a spent one ends its session."""
    async with database.transaction() as session:
        result = await sessions.refresh(
            session, refresh_token=data.refresh_token, signer=signer, mailer=mailer, now=now
        )
    if isinstance(result, AppError):
        raise result
    return result


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT, responses=problems(Unauthorized, PersonRequired))
async def logout(session: Writing, who: SignedInPerson, response: Response) -> None:
    """End this session; its tokens stop working at once."""
    response.headers.update(FORGET)
    await sessions.close_session(session, session_id=who.session_id)


@router.post(
    "/confirm",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(
        Unauthorized, PersonRequired, accounts.WrongPassword, factors.WrongCode, gate.TooManyLogins, gate.TooManyCodes
    ),
)
async def confirm(data: Confirmation, desk: SignInDesk, who: SignedInPerson) -> None:
    """Prove again that it is you, by password and, with an app, its code: good for a quarter of an hour."""
    user = await check_own_password(data.password, who.user_id, desk.database, desk.limits)
    await gate.admit_code(desk.limits, name=str(user.id))
    async with desk.database.transaction() as session:
        if await factors.has_totp(session, user_id=user.id) and not await factors.use_code(
            session, user_id=user.id, code=data.code or "", vault=desk.vault, now=desk.now
        ):
            raise factors.WrongCode
        assert who.session_id is not None
        await sessions.confirm(session, session_id=who.session_id, has_second_factor=False, now=desk.now)


@router.get("/me", responses=problems(Unauthorized, ScopeTooNarrow))
async def get_me(session: Reading, who: Enrolling, response: Response) -> UserRead:
    """The account that is signed in."""
    user = await user_queries.find(session, who.user_id)
    if user is None:
        raise Unauthorized
    response.headers["ETag"] = etag(user.version)
    return await users.read(session, user)


@router.patch("/me", responses=problems(Unauthorized, ScopeTooNarrow, VersionChanged, branches.UnknownBranch))
async def update_me(
    data: UserUpdate, session: Writing, who: SignedIn, if_match: OptionalIfMatch, response: Response
) -> UserRead:
    """Change one's own name, language, home branch or consent; only the fields sent are touched."""
    changes = data.model_dump(exclude_unset=True)
    if home_branch := changes.get("home_branch"):
        await branches.check_open(session, home_branch)
    user = await users.change(session, user_id=who.user_id, changes=changes, if_match=if_match)
    response.headers["ETag"] = etag(user.version)
    return user
