"""The sample of real records: counts, figures, the same record by record as an independent reading says."""

import asyncio
import hashlib
import json
import lzma
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymarc import Field, MARCReader, Record
from sqlalchemy import func, select

from app.books.models import Book, SourceRecord
from app.core.config import Settings
from app.core.db import Database
from tests import evidence
from tests.integration.conftest import ROOT, SAMPLE, SAMPLE_RECORDS, Sample, command, environment, run_import

pytestmark = pytest.mark.anyio

MAX_REJECTED_SHARE = 0.001
MAX_PEAK_BYTES = 200 << 20
SLICE = 4_000


def test_the_sample_is_taken_in_whole_in_little_memory(sample: Sample, backend: str) -> None:
    told = sample.told
    rate = round(told["records"] / sample.seconds)
    counts = {name: told[name] for name in ("records", "imported", "possible_duplicate", "rejected")}
    evidence.keep("import", backend, **counts, records_per_second=rate, peak_mib=sample.peak_bytes >> 20)
    assert told["problem"] is None
    assert told["records"] == SAMPLE_RECORDS
    assert told["imported"] + told["possible_duplicate"] + told["rejected"] == SAMPLE_RECORDS
    assert told["rejected"] <= SAMPLE_RECORDS * MAX_REJECTED_SHARE
    assert sample.peak_bytes <= MAX_PEAK_BYTES


def test_the_sample_taken_in_again_adds_nothing(sample: Sample, shared: Path, backend: str) -> None:
    told, seconds, _ = run_import(sample.settings, str(shared / "data" / SAMPLE))
    evidence.keep("import", backend, again_records_per_second=round(told["records"] / seconds))
    assert told["unchanged"] == sample.told["imported"] + sample.told["possible_duplicate"]
    assert told["imported"] == told["updated"] == told["possible_duplicate"] == 0


async def test_every_record_says_the_same_as_an_independent_reading(sample_database: Database, shared: Path) -> None:
    stored = await documents(sample_database)
    differing: list[tuple[str, str, Any, Any]] = []
    compared = 0
    for record in sample_records(shared):
        number = str(record["001"].data).strip()
        document = stored[number]
        compared += 1
        for name, expected, found in expectations(record, document):
            if expected != found:
                differing.append((number, name, expected, found))
    assert differing[:10] == []
    assert compared == SAMPLE_RECORDS


async def test_an_import_that_is_killed_and_started_again_makes_the_same_catalogue(
    settings: Settings, database: Database, sample_database: Database, shared: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part.mrc"
    first = islice(sample_records(shared), SLICE)
    part.write_bytes(b"".join(record.as_marc() for record in first))
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command(str(part)), env=environment(settings), cwd=ROOT, stdout=nothing
    )
    async with asyncio.timeout(60):
        while await books_in(database) < SLICE // 4:
            assert process.returncode is None, "it must be killed before its end"
            await asyncio.sleep(0.02)
    reading = readers_of(part)
    assert len(reading) == 2, "the one that was called, and its reader"
    process.kill()
    await process.wait()
    _, left = psutil.wait_procs(reading, timeout=5)
    assert left == [], "no reader outlives the one that writes"
    assert 0 < await books_in(database) < SLICE
    told, _, _ = run_import(settings, str(part))
    assert told["imported"] + told["possible_duplicate"] + told["unchanged"] == SLICE
    in_one_go = await documents(sample_database)
    made = await documents(database)
    assert hashed(made) == hashed({number: in_one_go[number] for number in made})
    assert len(made) == SLICE


def readers_of(path: Path) -> list[psutil.Process]:
    """The processes that have this file in their command line."""
    return [each for each in psutil.process_iter(["cmdline"]) if str(path) in " ".join(each.info["cmdline"] or [])]


def sample_records(shared: Path) -> Iterator[Record]:
    with lzma.open(shared / "data" / SAMPLE) as file:
        for record in MARCReader(file, hide_utf8_warnings=True):  # type: ignore[arg-type]  # LZMAFile is a BinaryIO
            assert record is not None
            yield record


async def documents(database: Database) -> dict[str, dict[str, Any]]:
    statement = select(Book.id, SourceRecord.control_number, Book.document).join(
        SourceRecord, SourceRecord.book_id == Book.id
    )
    found: dict[str, dict[str, Any]] = {}
    last = 0
    async with database.reading() as session:
        # Page by page: a statement that takes longer than two seconds is cancelled.
        while rows := (await session.execute(statement.where(Book.id > last).order_by(Book.id).limit(SLICE))).all():
            found |= {row.control_number: json.loads(row.document) for row in rows}
            last = rows[-1].id
    return found


async def books_in(database: Database) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).select_from(Book)) or 0


def hashed(found: dict[str, dict[str, Any]]) -> str:
    content = [
        [number, {name: value for name, value in document.items() if name not in {"created_at", "updated_at"}}]
        for number, document in sorted(found.items())
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def expectations(record: Record, document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What each part must be by its letters and digits alone, read straight from pymarc's fields."""
    title = record["245"]
    shown = [document["title"], document["subtitle"] or ""]
    if "=" in "".join(value for _, value in title.subfields):  # with a parallel title, which stands elsewhere
        yield "parallel title", set(letters(shown)) - set(letters(parts(title, "abnp"))), set()
    else:
        yield "title", letters(parts(title, "abnp")), letters(shown)
    yield "contributors", names_in(record), {letters([item["name"]]) for item in document["contributors"]}
    yield "languages", languages_in(record), set(document["languages"])
    for kind, tag, beginning in NUMBERS:
        values = [value for field in record.get_fields(tag) for value in field.get_subfields("a")]
        wanted = {letters([value]) for value in values if value.startswith(beginning)} - {""}
        found = {letters([item["value"]]) for item in document["identifiers"] if item["type"] == kind}
        yield kind, wanted, found
    subjects = {letters(parts(field, subject_codes(field.tag))) for field in record.get_fields(*SUBJECT_TAGS)} - {""}
    yield "subjects", subjects, {letters([subject]) for subject in document["subjects"]}


NUMBERS = (("isbn", "020", ""), ("issn", "022", ""), ("lccn", "010", ""), ("oclc", "035", "(OCoLC)"))
SUBJECT_TAGS = ("600", "610", "611", "630", "648", "650", "651", "653", "655")
NO_LANGUAGE = {"und", "zxx", "mul"}
RENAMED = {"scr": "hrv", "scc": "srp", "mol": "rum", "iri": "gle", "gae": "gla", "esp": "epo", "tag": "tgl"}
RENAMED |= {
    "lan": "oci",
    "taj": "tgk",
    "tar": "tat",
    "cam": "khm",
    "eth": "gez",
    "gal": "orm",
    "snh": "sin",
    "tsw": "tsn",
}


def names_in(record: Record) -> set[str]:
    codes = {"00": "abcdq", "10": "abcdng", "11": "aqendc"}
    return {letters(parts(field, codes[field.tag[1:]])) for field in named(record)} - {""}


def languages_in(record: Record) -> set[str]:
    codes = {str(record["008"].data)[35:38]}
    for field in record.get_fields("041"):
        if field.indicator2 != "7":
            run_together = "".join(value.strip().ljust(3) for value in field.get_subfields("a"))
            codes |= {run_together[at : at + 3].lower() for at in range(0, len(run_together), 3)}
    return {RENAMED.get(code, code) for code in codes if re.fullmatch("[a-z]{3}", code)} - NO_LANGUAGE


def subject_codes(tag: str) -> str:
    return {"600": "abcdqtnpvxyz", "610": "abcdngtpvxyz", "611": "aqendctpvxyz"}.get(tag, "abcdvxyz")


def named(record: Record) -> Iterable[Field]:
    """Names of who made the book, not of other works that it points to."""
    for field in record.get_fields("100", "110", "111", "700", "710", "711"):
        if not (field.tag.startswith("7") and field.get_subfields("t") and field.indicator2 != "2"):
            yield field


def parts(field: Field, codes: str) -> list[str]:
    return [value for code, value in field.subfields if code in codes]


def letters(texts: Iterable[str]) -> str:
    """Letters and digits alone, in one normal form; punctuation and order of spaces don't count."""
    text = unicodedata.normalize("NFC", " ".join(texts))
    return "".join(sorted(character for character in text if character.isalnum()))
