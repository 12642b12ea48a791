"""Imports and exports: the whole catalogue in and out over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.api.deps import CatalogueImporter, CurrentDatabase, CurrentSettings, Now, Reading
from app.api.errors import problems
from app.api.file_body import FILE_BODY, FileBody, NoFileSent
from app.api.responses import next_link
from app.branches.service import UnknownBranch
from app.core.errors import AppError, Forbidden, TooLarge, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.schemas import Code, ShortLine, Strict
from app.imports import exporting, jobs, opening
from app.imports.formats.reading import UnknownFormat
from app.imports.schemas import Format, ImportRead, RecordVerdictPage, Verdict

router = APIRouter(tags=["imports"])

_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden)


class ImportQuery(Strict):
    """What to do with the file."""

    format: Annotated[Format | None, Field(strict=False, description="Found from the file if not said")] = None
    source: Annotated[str | None, Field(max_length=64, description="Whose records these are, instead of 003")] = None
    branch: Annotated[Code | None, Field(description="Where copies go that name no branch")] = None
    overwrite: Annotated[bool, Field(strict=False, description="Upstream wins over edits made here")] = False
    dry_run: Annotated[bool, Field(strict=False, description="Tell what would become of each record")] = False
    file_name: Annotated[ShortLine | None, Field(description="What to call the file in reports")] = None


@router.post(
    "/books/import",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(
        *_STAFF, NoFileSent, TooLarge, UnknownBranch, UnknownFormat, opening.FileEmpty, opening.FileIsHtml,
        opening.ArchiveBroken,
    ),
    openapi_extra=FILE_BODY,
)  # fmt: skip
async def import_books(
    request: Request,
    query: Annotated[ImportQuery, Query()],
    database: CurrentDatabase,
    settings: CurrentSettings,
    who: CatalogueImporter,
    response: Response,
    now: Now,
) -> ImportRead:
    """Take a catalogue in: MARC 21, MARCXML, CSV or JSON lines, plain or packed as .xz or .gz.

    The file is stored and taken in soon after; ask the address in `Location` how far it has come.
    """
    del who
    body = FileBody(request)
    order = jobs.Order(
        file_name=query.file_name or "the file",
        format=query.format,
        source_name=query.source,
        branch_id=query.branch,
        overwrite=query.overwrite,
        dry_run=query.dry_run,
    )
    job = await jobs.store(database, body.chunks(), order=order, settings=settings, now=now)
    response.headers["Location"] = f"{settings.api_v1_str}/imports/{job.id}"
    return job


@router.get("/imports/{import_id}", responses=problems(*_STAFF, jobs.ImportNotFound))
async def get_import(import_id: UUID, session: Reading, who: CatalogueImporter, response: Response) -> ImportRead:
    """How far an import has come."""
    del who
    response.headers["Cache-Control"] = "no-store"
    return await jobs.get(session, import_id)


@router.get(
    "/imports/{import_id}/records", responses=problems(*_STAFF, jobs.ImportNotFound, InvalidCursor, StaleCursor)
)
async def list_import_records(
    import_id: UUID,
    request: Request,
    session: Reading,
    who: CatalogueImporter,
    response: Response,
    verdict: Verdict | None = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> RecordVerdictPage:
    """What became of each record, in the file's order."""
    del who
    told, following = await jobs.verdicts(session, import_id, verdict=verdict, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    response.headers["Cache-Control"] = "no-store"
    return RecordVerdictPage(items=told, next=following)


_FILE = {"schema": {"type": "string", "format": "binary"}}
_FILES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": dict.fromkeys(exporting.MEDIA_TYPES.values(), _FILE)}
}


@router.get(
    "/books/export",
    response_model=bytes,
    response_class=StreamingResponse,
    responses={**problems(*_STAFF), **_FILES},
)
async def export_books(
    database: CurrentDatabase,
    who: CatalogueImporter,
    format: Annotated[Format, Query()] = Format.MARC,  # noqa: A002  # the query's name
    *,
    spreadsheet: Annotated[bool, Query(description="CSV for people: no formulas, marked as UTF-8")] = False,
) -> StreamingResponse:
    """The whole catalogue, suppressed books too, with copies; importing it elsewhere gives the same."""
    del who
    headers = {
        "Content-Disposition": f'attachment; filename="catalogue.{_ENDINGS[format]}"',
        "Cache-Control": "no-store",
    }
    pieces = exporting.export(database, format, for_spreadsheet=spreadsheet)
    return StreamingResponse(pieces, media_type=exporting.MEDIA_TYPES[format], headers=headers)


_ENDINGS = {Format.MARC: "mrc", Format.MARCXML: "xml", Format.CSV: "csv", Format.JSONL: "jsonl"}
