"""An import of MARC files, end to end, beside COPY of the rows that it made into tables with the same indexes (P11)."""

import subprocess
import time
from typing import Final

from benchmarks.judging import Figure, at_least, at_most
from benchmarks.stage import Stage
from tests.servers import postgres_binaries

TABLES: Final = ("books", "access_points", "source_records", "book_terms", "search_words")
PEAK_MIB: Final = 200


def measure(stage: Stage) -> list[Figure]:
    stage.library("copied")
    stage.take_in()
    imported = stage.told["import"]
    dump = stage.folder / "rows.sql"
    tables = [option for table in TABLES for option in ("-t", table)]
    with dump.open("wb") as file:
        dumping = [*_program(stage, "pg_dump"), "--data-only", *tables, "catalogue"]
        subprocess.run(dumping, stdout=file, stderr=subprocess.DEVNULL, check=True)  # noqa: S603  # our own command
    stage.administer("TRUNCATE books CASCADE", database="copied")
    began = time.monotonic()
    loading = [*_program(stage, "psql"), "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(dump), "copied"]
    subprocess.run(loading, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command
    seconds = time.monotonic() - began
    rate = imported["records"] / imported["seconds"]
    detail = f"{imported['records'] / seconds:,.0f} records a second to {rate:,.0f}"
    size = stage.ask("SELECT pg_database_size('catalogue')", database="catalogue")
    return [
        Figure("P11", "bytes that a book takes, with its record and indexes", size / imported["records"]),
        at_least("P11", "import of MARC, of COPY of its rows", seconds / imported["seconds"], 0.5, detail),
        at_most("P11", "import, peak MiB", imported["peak_bytes"] / 2**20, PEAK_MIB),
    ]


def _program(stage: Stage, name: str) -> list[str]:
    return [str(postgres_binaries() / name), "-h", "127.0.0.1", "-p", str(stage.cluster.port), "-U", "postgres"]
