"""What somebody may ask about his own data over HTTP: all of it, and to be erased."""

from uuid import UUID

import structlog
from fastapi import APIRouter, Response, status

from app.api.circulation import actor_of
from app.api.deps import (
    AccountEraser,
    ConfirmationRequired,
    ConfirmedPerson,
    CurrentDatabase,
    CurrentSettings,
    CurrentStorage,
    Now,
    PersonRequired,
    Reading,
    RequiredIfMatch,
    SignedInPerson,
)
from app.api.errors import problems
from app.auth.service import Identity
from app.bookings.context import Context
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Forbidden, PreconditionRequired, Unauthorized
from app.core.storage import Storage, StorageUnavailable
from app.core.versioning import IfMatch, VersionChanged
from app.erasure import service as erasure
from app.erasure.schemas import PersonalData
from app.policies import service as policies
from app.users import service as users

router = APIRouter(tags=["privacy"])
log = structlog.get_logger()

_KEPT_BACK = (users.LastAdmin, erasure.LoansOpen, erasure.BalanceNotZero)


@router.get("/auth/me/export", responses=problems(Unauthorized, PersonRequired))
async def export_my_data(session: Reading, who: SignedInPerson, response: Response, now: Now) -> PersonalData:
    """Everything that the library holds about me, in one piece."""
    response.headers["Content-Disposition"] = 'attachment; filename="my-library-data.json"'
    return await erasure.export(session, user_id=who.user_id, now=now)


@router.delete(
    "/auth/me",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(Unauthorized, PersonRequired, ConfirmationRequired, *_KEPT_BACK),
)
async def erase_me(
    database: CurrentDatabase, storage: CurrentStorage, settings: CurrentSettings, who: ConfirmedPerson, now: Now
) -> None:
    """Erase my account for good, once nothing is on loan or owed; open bookings are cancelled."""
    await _erase(database, storage, settings, who, who.user_id, None, now)


@router.delete(
    "/users/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(Unauthorized, Forbidden, users.UserNotFound, PreconditionRequired, VersionChanged, *_KEPT_BACK),
)
async def erase_user(
    user_id: UUID,
    database: CurrentDatabase,
    storage: CurrentStorage,
    settings: CurrentSettings,
    who: AccountEraser,
    if_match: RequiredIfMatch,
    now: Now,
) -> None:
    """Erase somebody's account at his wish, on the same terms."""
    await _erase(database, storage, settings, who, user_id, if_match, now)


async def _erase(
    database: Database,
    storage: Storage,
    settings: Settings,
    who: Identity,
    user_id: UUID,
    if_match: IfMatch,
    now: Now,
) -> None:
    async with database.transaction() as session:
        context = Context(now, actor_of(who), await policies.rulebook(session), settings.timezone)
        files = await erasure.erase(session, user_id=user_id, context=context, if_match=if_match)
    await database.scrub()
    try:
        await storage.delete(files)
        await erasure.hand_over(database, storage)
    except StorageUnavailable:  # jobs do both once it is back
        log.warning("erasure_ledger_waits")
