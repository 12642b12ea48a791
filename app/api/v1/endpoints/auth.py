"""Signing in over HTTP."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response, status
from fastapi.security import OAuth2PasswordRequestForm

from app.api.deps import CurrentDatabase, CurrentSettings, Now, OptionalIfMatch, Reading, SignedIn, Signer, Writing
from app.api.errors import problems
from app.auth import service as auth
from app.auth.schemas import Credentials, RefreshRequest, Registration, TokenPair
from app.branches import service as branches
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Unauthorized
from app.core.security import TokenSigner, hash_password, verify_password
from app.core.versioning import VersionChanged, etag
from app.users import queries as user_queries
from app.users import service as users
from app.users.schemas import UserRead, UserUpdate

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/register",
    status_code=status.HTTP_201_CREATED,
    responses=problems(users.EmailTaken, auth.RegistrationClosed),
)
async def register(data: Registration, settings: CurrentSettings, database: CurrentDatabase, now: Now) -> UserRead:
    """Make a reader's account with a card; sign in at once."""
    if settings.registration == "closed":
        raise auth.RegistrationClosed
    password_hash = await hash_password(data.password)
    async with database.transaction() as session:
        user = await auth.register(session, data=data, password_hash=password_hash, now=now)
        return await users.read(session, user)


@router.post("/login", responses=problems(auth.WrongCredentials))
async def login(
    data: Credentials, settings: CurrentSettings, database: CurrentDatabase, signer: Signer, now: Now
) -> TokenPair:
    """Exchange address and password for an access token and a refresh token."""
    return await _sign_in(data, settings, database, signer, now)


@router.post("/token", responses=problems(auth.WrongCredentials))
async def login_form(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    settings: CurrentSettings,
    database: CurrentDatabase,
    signer: Signer,
    now: Now,
) -> TokenPair:
    """The same for OAuth2's password form, which the interactive documentation uses."""
    return await _sign_in(Credentials(email=form.username, password=form.password), settings, database, signer, now)


@router.post("/refresh", responses=problems(auth.InvalidRefreshToken))
async def refresh(data: RefreshRequest, session: Writing, signer: Signer, now: Now) -> TokenPair:
    """Exchange the refresh token for a new pair; each refresh token works once."""
    return await auth.refresh(session, refresh_token=data.refresh_token, signer=signer, now=now)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT, responses=problems(Unauthorized))
async def logout(session: Writing, who: SignedIn) -> None:
    """End this session; its tokens stop working at once."""
    await auth.close_session(session, session_id=who.session_id)


@router.get("/me", responses=problems(Unauthorized))
async def get_me(session: Reading, who: SignedIn, response: Response) -> UserRead:
    """The account that is signed in."""
    user = await user_queries.find(session, who.user_id)
    if user is None:
        raise Unauthorized
    response.headers["ETag"] = etag(user.version)
    return await users.read(session, user)


@router.patch("/me", responses=problems(Unauthorized, VersionChanged, branches.UnknownBranch))
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


async def _sign_in(
    data: Credentials, settings: Settings, database: Database, signer: TokenSigner, now: Now
) -> TokenPair:
    """Verify outside any transaction: hashing takes long, and no connection should wait for it."""
    async with database.reading() as session:
        user = await user_queries.by_email(session, data.email)
    if not await verify_password(data.password, user.password_hash if user else None) or user is None:
        raise auth.WrongCredentials
    life = timedelta(days=settings.refresh_token_expire_days)
    async with database.transaction() as session:
        return await auth.open_session(session, user_id=user.id, signer=signer, life=life, now=now)
