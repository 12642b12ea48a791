"""Import jobs: a file that came over the network, stored and queued, and what is told of it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.branches import service as branches
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import NotFound, TooLarge
from app.core.pagination import Cursor, decode_cursor, question_of
from app.imports.formats.reading import format_of
from app.imports.models import ImportJob, ImportVerdict
from app.imports.opening import opened
from app.imports.schemas import (
    Format,
    ImportProblem,
    ImportRead,
    ImportStatus,
    RecordVerdict,
    Verdict,
)

FOLDER: Final = "imports"
LATEST: Final = 10


class ImportNotFound(NotFound):
    code, detail = "import_not_found", "There is no such import."


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with an uploaded file."""

    file_name: str
    format: Format | None = None
    source_name: str | None = None
    branch_id: str | None = None
    overwrite: bool = False
    dry_run: bool = False


async def store(
    database: Database, chunks: AsyncIterator[bytes], *, order: Order, settings: Settings, now: datetime
) -> ImportRead:
    """Store the file as it comes in and queue it. The same file with the same order, while it waits, is one job.

    Raises:
        TooLarge: more than MAX_IMPORT_SIZE; nothing is kept.
        UnusableFile: it can be no catalogue, or in no format known.
        UnknownBranch.
    """
    job_id = uuid_utils.uuid7()
    path = path_of(settings, job_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        size_bytes, digest = await _receive(chunks, path, limit_bytes=settings.max_import_size)
        known = await asyncio.to_thread(_sniff, path, order)
        async with database.transaction() as session:
            if order.branch_id:
                await branches.check_open(session, order.branch_id)
            twin = await _waiting_twin(session, digest, order)
            if twin is None:
                job = _queued(job_id, order, known, size_bytes, digest, now)
                session.add(job)
                await session.flush()
                return read(job)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    return read(twin)


async def get(session: AsyncSession, import_id: UUID) -> ImportRead:
    """How far an import has come.

    Raises:
        ImportNotFound.
    """
    job = await session.get(ImportJob, import_id)
    if job is None:
        raise ImportNotFound
    return read(job)


async def latest(session: AsyncSession) -> list[ImportRead]:
    """The last ten imports, the newest first."""
    statement = select(ImportJob).order_by(ImportJob.id.desc()).limit(LATEST)
    return [read(job) for job in await session.scalars(statement)]


async def verdicts(
    session: AsyncSession, import_id: UUID, *, verdict: Verdict | None, cursor: str | None, limit: int
) -> tuple[list[RecordVerdict], str | None]:
    """What became of the records, in the file's order.

    Raises:
        ImportNotFound, InvalidCursor, StaleCursor.
    """
    await get(session, import_id)
    question = question_of("verdicts", import_id, verdict)
    after = decode_cursor(cursor, question)
    statement = select(ImportVerdict).where(ImportVerdict.import_id == import_id).order_by(ImportVerdict.position)
    if verdict is not None:
        statement = statement.where(ImportVerdict.verdict == verdict)
    if after:
        statement = statement.where(ImportVerdict.position > after.id)
    found = list(await session.scalars(statement.limit(limit + 1)))
    told = [RecordVerdict.model_validate(row.told) for row in found[:limit]]
    return told, Cursor(None, told[-1].position).encode(question) if len(found) > limit else None


def read(job: ImportJob) -> ImportRead:
    problem = ImportProblem(code=job.problem_code, detail=job.problem_detail or "") if job.problem_code else None
    return ImportRead(
        id=job.id,
        status=ImportStatus(job.status),
        file_name=job.file_name,
        format=Format(job.format) if job.format else None,
        size_bytes=job.size_bytes,
        dry_run=job.dry_run,
        overwrite=job.overwrite,
        records=job.position,
        counts={verdict: job.counts.get(verdict, 0) for verdict in Verdict},
        problem=problem,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


async def _receive(chunks: AsyncIterator[bytes], path: Path, *, limit_bytes: int) -> tuple[int, str]:
    size_bytes, digest = 0, hashlib.sha256()
    with path.open("xb") as file:
        async for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise TooLarge(limit_bytes=limit_bytes)
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return size_bytes, digest.hexdigest()


def _sniff(path: Path, order: Order) -> Format:
    with opened(path, name=order.file_name) as source:
        return order.format or format_of(source)


def _queued(job_id: UUID, order: Order, known: Format, size_bytes: int, digest: str, now: datetime) -> ImportJob:
    return ImportJob(
        id=job_id,
        status=ImportStatus.QUEUED,
        file_name=order.file_name[:200],
        size_bytes=size_bytes,
        digest=digest,
        format=known,
        source_name=order.source_name,
        branch_id=order.branch_id,
        overwrite=order.overwrite,
        dry_run=order.dry_run,
        position=0,
        counts={},
        attempt=0,
        created_at=now,
    )


async def _waiting_twin(session: AsyncSession, digest: str, order: Order) -> ImportJob | None:
    statement = select(ImportJob).where(
        ImportJob.digest == digest,
        ImportJob.status.in_((ImportStatus.QUEUED, ImportStatus.RUNNING)),
        ImportJob.source_name == order.source_name,
        ImportJob.branch_id == order.branch_id,
        ImportJob.overwrite == order.overwrite,
        ImportJob.dry_run == order.dry_run,
    )
    return (await session.scalars(statement.limit(1))).one_or_none()


def path_of(settings: Settings, job_id: UUID) -> Path:
    return settings.data_dir / FOLDER / str(job_id)
