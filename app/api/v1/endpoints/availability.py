"""Live availability over HTTP: counts for some books, once or as a stream. Never cached."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api.circulation import live_counts
from app.api.deps import Reading
from app.api.errors import problems
from app.api.stream import LookOut
from app.books.schemas import Availability
from app.core.errors import BadRequest
from app.core.pagination import MAX_ID

router = APIRouter(prefix="/books/availability", tags=["books"])

MAX_IDS = 100
Ids = Annotated[str, Query(max_length=2_000, description="Up to 100 ids of books, separated by commas")]


class InvalidIds(BadRequest):
    code, detail = "invalid_ids", "`ids` must be 1 to 100 numbers separated by commas."


@router.get("", responses=problems(InvalidIds))
async def books_availability(session: Reading, response: Response, ids: Ids) -> dict[int, Availability]:
    """Live counts by id; a book without copies, or unknown, has zeros."""
    response.headers["Cache-Control"] = "no-store"
    return await live_counts(session, _wanted(ids))


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(InvalidIds)},
)
async def stream_availability(request: Request, ids: Ids) -> StreamingResponse:
    """Server-sent events `availability`: how the books stand now, then every change, and a heartbeat every 5 s.

    The stream ends when the process is about to stop; clients reconnect by themselves and get the present state.
    """
    look_out: LookOut = request.app.state.look_out
    wanted = _wanted(ids)
    # HEAD asks for the headers of a stream that it won't read.
    content = iter(()) if request.scope["state"].get("is_head") else look_out.watch(wanted)
    return StreamingResponse(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _wanted(ids: str) -> list[int]:
    parts = ids.split(",")
    if len(parts) > MAX_IDS or not all(part.isascii() and part.isdecimal() for part in parts):
        raise InvalidIds
    wanted = sorted({int(part) for part in parts})
    if wanted[-1] > MAX_ID:
        raise InvalidIds
    return wanted
