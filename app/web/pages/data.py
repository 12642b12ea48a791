"""What somebody may ask about his own data: all of it in a file, and to be forgotten."""

from fastapi import APIRouter, Response

from app.api.cookies import clear_session_cookie
from app.api.deps import ConfirmedPerson, CurrentStorage, SignedInPerson
from app.api.v1.endpoints.privacy import erase_me, export_my_data
from app.core.errors import AppError
from app.web.page import Page

router = APIRouter()

CARD_END = 4


@router.get("/me/data")
async def show(page: Page, who: SignedInPerson) -> Response:
    """Both ways out."""
    del who
    return page.show("data.html", problem=None, errors={})


@router.get("/me/data.json")
async def download(page: Page, who: SignedInPerson) -> Response:
    """Everything that the library holds about him."""
    headers = Response()
    async with page.database.reading() as session:
        held = await export_my_data(session, who, headers, page.now)
    disposition = {"Content-Disposition": headers.headers["Content-Disposition"], "Cache-Control": "private, no-store"}
    return Response(held.model_dump_json(indent=1), media_type="application/json", headers=disposition)


@router.post("/me/erase")
async def erase(page: Page, who: ConfirmedPerson, storage: CurrentStorage) -> Response:
    """Erase the account for good, once nothing is on loan or owed."""
    if page.text("card_end") != page.account.card_number[-CARD_END:]:
        wrong = str(page.words.say("These are not the last four digits of your card."))
        return page.refuse("data.html", {"card_end": wrong})
    try:
        await erase_me(page.database, storage, page.settings, who, page.now)
    except AppError as error:
        return page.refuse("data.html", error)
    response = page.go("/", "erased")
    clear_session_cookie(response, page.settings)
    return response
