"""Catalogue files for tests, and the short way to take them in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymarc import Field, Indicators, Record, Subfield
from pymarc.leader import Leader

from app.core.db import Database
from app.imports import service as imports
from app.imports.schemas import Options, Outcome, RecordVerdict

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LEADER = "00000nam a2200000 a 4500"

Fields = Sequence[tuple[str, str, list[tuple[str, str]]]]


def record(
    number: str | None, title: str, fields: Fields = (), *, leader: str = LEADER, source: str = "TEST"
) -> Record:
    made = Record(force_utf8=leader[9] == "a")
    made.leader = Leader(leader)
    if number is not None:
        made.add_field(Field(tag="001", data=number))
    made.add_field(Field(tag="003", data="TEST"))
    for tag, indicators, parts in (("245", "00", [("a", title)]), *fields):
        subfields = [Subfield(code, value) for code, value in parts]
        made.add_field(Field(tag=tag, indicators=Indicators(*indicators), subfields=subfields))
    return made


def marc(number: int | str, title: str | None = None, fields: Fields = (), *, leader: str = LEADER) -> bytes:
    data: bytes = record(str(number), f"A book {number} /" if title is None else title, fields, leader=leader).as_marc()
    return data


async def take_in(
    database: Database, path: Path, options: Options | None = None, **how: Any
) -> tuple[Outcome, list[RecordVerdict]]:
    verdicts: list[RecordVerdict] = []

    def report(told: list[RecordVerdict], _read_bytes: int) -> None:
        verdicts.extend(told)

    outcome = await imports.take_in(
        database, path, options=options or Options(), clock=lambda: NOW, report=report, **how
    )
    return outcome, verdicts


async def take_in_bytes(
    database: Database, folder: Path, data: bytes, options: Options | None = None, **how: Any
) -> list[RecordVerdict]:
    """Take in a file that must be readable to its end."""
    path = folder / "records"
    path.write_bytes(data)
    outcome, verdicts = await take_in(database, path, options, **how)
    assert outcome.problem is None, outcome
    return verdicts
