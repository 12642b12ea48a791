"""Files that are no catalogue, or only partly one, are named as such; what was whole is taken in."""

import gzip
import lzma
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from app.books.models import Book, SourceRecord
from app.core.db import Database
from app.imports import opening, readers
from app.imports import service as imports
from app.imports.formats import reading
from app.imports.schemas import Options, RecordVerdict, Verdict
from tests.integration.imports.files import NOW, marc, take_in

pytestmark = pytest.mark.anyio


async def count(database: Database) -> tuple[int, int]:
    async with database.reading() as session:
        books = await session.scalar(select(func.count()).select_from(Book))
        records = await session.scalar(select(func.count()).select_from(SourceRecord))
    return books or 0, records or 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", opening.FileEmpty),
        (b" \n\0", opening.FileEmpty),
        (b"<!DOCTYPE html><html><body>404</body></html>", opening.FileIsHtml),
        (b"\xef\xbb\xbf<html>", opening.FileIsHtml),
        (b"%PDF-1.7 and the rest", reading.UnknownFormat),
        (gzip.compress(b"", mtime=0), opening.FileEmpty),
        (lzma.compress(b"<html>")[:-20], opening.ArchiveBroken),
    ],
)
async def test_a_file_that_is_no_catalogue_is_named_as_such(
    database: Database, tmp_path: Path, content: bytes, error: type[opening.UnusableFile]
) -> None:
    path = tmp_path / "records.mrc"
    path.write_bytes(content)
    outcome, verdicts = await take_in(database, path)
    assert (outcome.problem_code, verdicts) == (error.code, [])
    assert await count(database) == (0, 0)


async def test_a_directory_and_a_missing_file_are_named_as_such(tmp_path: Path) -> None:
    for path, error in ((tmp_path, opening.IsDirectory), (tmp_path / "nothing.mrc", opening.FileMissing)):
        with pytest.raises(error, match=path.name), opening.opened(path):
            pass


async def test_what_stands_before_the_cut_of_a_truncated_file_is_taken_in_whole(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "cut.mrc"
    path.write_bytes(b"".join(marc(number) for number in range(1, 4))[:-30])
    _, verdicts = await take_in(database, path)
    assert [verdict.verdict for verdict in verdicts] == [Verdict.IMPORTED, Verdict.IMPORTED, Verdict.REJECTED]
    assert "ends in the middle" in (verdicts[2].reason or "")
    assert await count(database) == (2, 2)


async def test_a_packed_file_that_is_cut_off_is_named_and_keeps_what_came_before(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "cut.mrc.gz"
    whole = gzip.compress(b"".join(marc(number) for number in range(1, 2_001)))
    path.write_bytes(whole[: len(whole) // 2])
    outcome, _ = await take_in(database, path)
    assert outcome.problem_code == "archive_broken"
    books, records = await count(database)
    assert books == records == outcome.counts[Verdict.IMPORTED]


@pytest.mark.parametrize("noise", [b"garbage\x1d", b"00050nam\x1d", b"\r\n\0garbage\x1d\n", b"x" * 120_000 + b"\x1d"])
async def test_one_bad_record_costs_none_of_its_neighbours(database: Database, tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "noisy.mrc"
    path.write_bytes(marc(1) + noise + marc(2) + noise + marc(3))
    _, verdicts = await take_in(database, path)
    assert [(verdict.verdict, verdict.control_number) for verdict in verdicts] == [
        (Verdict.IMPORTED, "1"),
        (Verdict.REJECTED, None),
        (Verdict.IMPORTED, "2"),
        (Verdict.REJECTED, None),
        (Verdict.IMPORTED, "3"),
    ]


async def test_a_record_whose_end_is_missing_does_not_swallow_the_next_one(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "glued.mrc"
    path.write_bytes(marc(1) + marc(2)[:-20] + marc(3) + marc(4))
    _, verdicts = await take_in(database, path)
    assert [verdict.control_number for verdict in verdicts] == ["1", None, "3", "4"]
    assert verdicts[1].verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (marc(1, leader="00000nz  a2200000n  4500"), "authority record"),
        (marc(1).replace(b"245", b"246"), "no title"),
        (marc(1, "Caf x").replace(b"Caf x", b"Caf\xe9x"), "not in the encoding"),
        (marc(1).replace(b"A book", b"A\x01book"), ""),
    ],
)
async def test_a_rejected_record_says_why(database: Database, tmp_path: Path, record: bytes, reason: str) -> None:
    path = tmp_path / "one.mrc"
    path.write_bytes(record)
    _, [verdict] = await take_in(database, path)
    expected = Verdict.REJECTED if reason else Verdict.IMPORTED
    assert verdict.verdict is expected, verdict
    assert reason in (verdict.reason or "")


async def test_a_record_of_a_hundred_megabytes_is_passed_over_in_little_memory(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "huge.mrc"
    with path.open("wb") as file:
        file.write(marc(1))
        file.write(b"99999nam a2200000 a 4500")
        for _ in range(100):
            file.write(b"a" * 1_000_000)
        file.write(b"\x1d" + marc(2))
    _, verdicts = await take_in(database, path)
    assert [verdict.verdict for verdict in verdicts] == [Verdict.IMPORTED, Verdict.REJECTED, Verdict.IMPORTED]
    assert "100000025 bytes" in (verdicts[1].reason or "")


async def test_a_gzip_bomb_is_stopped(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "bomb.mrc.gz"
    with gzip.open(path, "wb") as file:
        file.write(marc(1))
        for _ in range(300):
            file.write(bytes(1_000_000))
    outcome, verdicts = await take_in(database, path)
    assert outcome.problem_code == "expands_too_much"
    assert [verdict.verdict for verdict in verdicts] == [Verdict.IMPORTED]


async def test_half_a_character_in_a_key_costs_that_record_alone(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = ('{"id": "\\ud800", "title": "A"}', '{"id": "2", "source": "\\udfff", "title": "B"}', '{"title": "C"}')
    path.write_text("\n".join(lines))
    outcome, verdicts = await take_in(database, path)
    assert outcome.problem is None
    assert [verdict.verdict for verdict in verdicts] == [Verdict.REJECTED, Verdict.REJECTED, Verdict.IMPORTED]
    assert "half a character" in (verdicts[0].reason or "")


async def test_a_reading_process_that_is_killed_is_told_and_importing_again_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BATCH_RECORDS", 2)
    path = tmp_path / "records.mrc"
    path.write_bytes(b"".join(marc(number) for number in range(1, 10)))
    seen: set[str] = set()

    def kill(_verdicts: list[RecordVerdict], _read_bytes: int) -> None:
        if not seen:
            [reader] = (child for child in psutil.Process().children() if "app.imports.formats" in child.cmdline())
            seen.update(reader.environ())
            reader.kill()

    outcome = await imports.take_in(database, path, options=Options(), clock=lambda: NOW, report=kill)
    assert outcome.problem_code == "reader_ended"
    assert seen == {"PYTHONPATH"}, "the reader knows no secret of the service"
    assert 0 < outcome.total < 9
    assert await count(database) == (outcome.total, outcome.total)
    again, _ = await take_in(database, path)
    assert (again.problem, await count(database)) == (None, (9, 9))


async def test_a_file_that_grows_while_it_is_read_is_named_as_such(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BATCH_RECORDS", 1)
    path = tmp_path / "growing.mrc"
    path.write_bytes(marc(1) + marc(2) + marc(3))

    def grow(verdicts: list[RecordVerdict], _read_bytes: int) -> None:
        if verdicts[0].position == 1:
            with path.open("ab") as file:
                file.write(marc(4))

    outcome = await imports.take_in(database, path, options=Options(), clock=lambda: NOW, report=grow)
    assert outcome.problem_code == "file_changed"


async def test_the_same_file_twice_adds_nothing_and_a_changed_record_keeps_what_was_edited_here(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "records.mrc"
    path.write_bytes(marc(1) + marc(2) + marc(1))
    _, first = await take_in(database, path)
    assert [verdict.verdict for verdict in first] == [Verdict.IMPORTED, Verdict.IMPORTED, Verdict.UNCHANGED]
    before = await count(database)
    outcome, _ = await take_in(database, path)
    assert outcome.counts == {Verdict.UNCHANGED: 3}
    assert await count(database) == before == (2, 2)
    path.write_bytes(marc(1, "A changed book"))
    _, [changed] = await take_in(database, path)
    assert (changed.verdict, list(changed.changes), changed.kept_local) == (Verdict.UPDATED, ["title"], [])
