"""Taking a catalogue file in: sending it, watching it, reading the verdicts; and the catalogue as a file."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.api.deps import CatalogueImporter
from app.api.file_body import FileBody
from app.core.errors import AppError
from app.imports import exporting, jobs
from app.imports.schemas import Format, Verdict
from app.web.page import Page

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=1_024)]


@router.get("/imports")
async def ask(page: Page, who: CatalogueImporter) -> Response:
    """The way in for a file."""
    del who
    async with page.database.reading() as session:
        latest = await jobs.latest(session)
    return page.show("imports.html", latest=latest, problem=None, errors={})


@router.post("/imports")
async def send(page: Page, who: CatalogueImporter, *, dry_run: bool = False, overwrite: bool = False) -> Response:
    """Store the file as it comes in; it is taken in soon after."""
    del who
    body = FileBody(page.request)
    order = jobs.Order(file_name=str(page.words.say("a file")), dry_run=dry_run, overwrite=overwrite)
    try:
        job = await jobs.store(page.database, body.chunks(), order=order, settings=page.settings, now=page.now)
    except AppError as error:
        return page.refuse("imports.html", error, latest=[])
    return page.go(f"/imports/{job.id}")


@router.get("/imports/{import_id}")
async def watch(
    page: Page, who: CatalogueImporter, import_id: UUID, verdict: Verdict | None = None, cursor: Cursor = None
) -> Response:
    """How far it has come, and what became of each record."""
    del who
    async with page.database.reading() as session:
        job = await jobs.get(session, import_id)
        told, following = await jobs.verdicts(session, import_id, verdict=verdict, cursor=cursor, limit=50)
    template = "import_progress.html" if page.is_fragment else "import.html"
    return page.show(template, job=job, told=told, following=following, verdict=verdict, verdicts=list(Verdict))


@router.get("/catalogue.{kind}")
async def export(page: Page, who: CatalogueImporter, kind: Format) -> Response:
    """The whole catalogue as a file; CSV for people."""
    del who
    pieces = exporting.export(page.database, kind, for_spreadsheet=kind is Format.CSV)
    headers = {"Content-Disposition": f'attachment; filename="catalogue.{kind}"', "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type=exporting.MEDIA_TYPES[kind], headers=headers)
