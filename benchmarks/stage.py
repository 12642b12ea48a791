"""What the parts of a run share: servers and libraries, started when the first part asks for them."""

import asyncio
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import asyncpg
from rich.table import Table

from app.core.config import Settings
from benchmarks.wrk import Server, serving
from tests import servers
from tests.conftest import SHARED, _migrate, _settings
from tests.integration.conftest import environment, run_import

ROOT: Final = Path(__file__).resolve().parents[1]
BASELINE: Final = ROOT / "benchmarks" / "baseline.json"


def ours(port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.ours", "serve", "--port", str(port)]


@dataclass(eq=False)
class Stage:
    """One run. `quick` takes the small file, shorter rounds and fewer of them.

    `told` and `tables` are what parts tell besides their goals' figures; `kept` is a PostgreSQL to be used instead of
    an own one.
    """

    quick: bool
    stack: ExitStack
    told: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    kept: servers.Postgres | None = None

    @property
    def file(self) -> str:
        return str(SHARED / "data" / ("loc_sample.mrc.xz" if self.quick else "loc_100k.mrc.xz"))

    @property
    def size(self) -> str:
        return "20,833 records" if self.quick else "100,000 records"

    @cached_property
    def folder(self) -> Path:
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="library-bench-")))

    @cached_property
    def cluster(self) -> servers.Postgres:
        """PostgreSQL as in production: what was confirmed is on disk."""
        return self.kept or self.stack.enter_context(servers.postgres(durable=True))

    @cached_property
    def catalogue(self) -> Settings:
        """A library that holds the file's records. What parts write into it must not change what others measure."""
        settings = self.library("catalogue")
        told, seconds, peak_bytes = run_import(settings, self.file)
        self.told["import"] = {"records": told["records"], "seconds": seconds, "peak_bytes": peak_bytes}
        self.administer("VACUUM ANALYZE", database="catalogue")
        return settings

    def take_in(self) -> None:
        """Make the catalogue now, if no part has."""
        _ = self.catalogue

    def library(self, name: str, *, like: str = "template1") -> Settings:
        """An empty, migrated library on PostgreSQL, or a copy of another to which nobody is connected."""
        self.administer(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
        folder = self.folder / name
        folder.mkdir()
        settings = _settings(folder, database_url=f"{self.cluster.url}/{name}")
        settings = settings.model_copy(update={"public_url": "http://localhost"})
        if like == "template1":
            asyncio.run(_migrate(settings))
        return settings

    def administer(self, statement: str, *, database: str = "postgres") -> None:
        asyncio.run(_execute(f"{self.cluster.url}/{database}", statement))

    def ask(self, question: str, *, database: str) -> Any:
        """The first value of the first row."""
        return asyncio.run(_fetch(f"{self.cluster.url}/{database}", question))

    def serve(self, stack: ExitStack, settings: Settings, *, cores: str = "0", **given: str) -> Server:
        """The service as it ships, in one process on one core unless told otherwise, as long as the stack is open."""
        return stack.enter_context(
            serving(ours, self.environment(settings) | given, ready="/health/ready", cores=cores)
        )

    def environment(self, settings: Settings) -> dict[str, str]:
        one = {"WEB_CONCURRENCY": "1", "SCHEDULER_ENABLED": "false", "PUBLIC_URL": "http://localhost"}
        return environment(settings) | one


async def _fetch(url: str, question: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def kept_baseline() -> dict[str, float]:
    """The committed ratios by the figures' names."""
    found: dict[str, float] = json.loads(BASELINE.read_text())
    return found


def keep_baseline(ratios: dict[str, float]) -> None:
    BASELINE.write_text(json.dumps(ratios, indent=2, ensure_ascii=False) + "\n")
