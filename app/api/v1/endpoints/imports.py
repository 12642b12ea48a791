"""Imports and exports: the whole catalogue in and out over HTTP."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import Field
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.deps import CatalogueImporter, CurrentDatabase, CurrentSettings, Now, Reading
from app.api.errors import problems
from app.api.responses import next_link
from app.branches.service import UnknownBranch
from app.core.errors import AppError, BadRequest, Forbidden, TooLarge, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.schemas import Code, ShortLine, Strict
from app.imports import exporting, jobs, opening
from app.imports.formats.reading import UnknownFormat
from app.imports.schemas import Format, ImportRead, RecordVerdictPage, Verdict

router = APIRouter(tags=["imports"])

_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden)


class NoFileSent(BadRequest):
    code, detail = "no_file_sent", "Send the file as the body, or as the part `file` of a multipart form."


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
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": {"type": "string", "format": "binary"}},
                    }
                },
            },
        }
    },
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


class FileBody:
    """The file in a request: the body itself, or the first file of a multipart form, read as it comes in."""

    def __init__(self, request: Request) -> None:
        self._request = request
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        self._boundary = options.get(b"boundary") if kind == b"multipart/form-data" else None

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._boundary is None:
            async for chunk in self._request.stream():
                if chunk:
                    yield chunk
            return
        part = _FilePart(self._boundary)
        async with aclosing(self._request.stream()) as stream:
            async for chunk in stream:
                for piece in part.feed(chunk):
                    yield piece
        if not part.was_there:
            raise NoFileSent


class _FilePart:
    """Finds the part with a file name in a form and gives its bytes."""

    def __init__(self, boundary: bytes) -> None:
        self.was_there = False
        self._is_file = False
        self._name = b""
        self._value = b""
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        self._parser.write(chunk)
        pieces, self._pieces = self._pieces, []
        return pieces

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition" and not self.was_there:
            _, options = parse_options_header(self._value)
            self._is_file = b"filename" in options
        self._name = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.was_there = True
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        self._is_file = False


_ENDINGS = {Format.MARC: "mrc", Format.MARCXML: "xml", Format.CSV: "csv", Format.JSONL: "jsonl"}
