"""Import of the files of real records on both databases: verdicts, rate and peak memory, into build/evidence.

Each file is taken in at one go, once more (nothing may be added), and into a second library with a kill half-way,
which must end with the same catalogue. Run from the repository: `python -m benchmarks.import_files [FILE…]`; the
records are looked for in ../shared/data.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.core.config import Settings
from app.core.db import Database
from tests import evidence, servers
from tests.conftest import SHARED, _administer, _migrate, _settings
from tests.integration.conftest import ROOT, command, environment, run_import
from tests.integration.imports.test_sample import books_in, documents, hashed

FILES = ("loc_sample.mrc.xz", "loc_100k.mrc.xz")
VERDICTS = ("records", "imported", "possible_duplicate", "rejected")


def main() -> int:
    names = sys.argv[1:] or FILES
    with servers.postgres() as cluster, tempfile.TemporaryDirectory() as root:
        for name in names:
            for backend in ("sqlite", "postgresql"):

                def library(kind: str, name: str = name, backend: str = backend) -> Settings:
                    folder = Path(root, f"{name}-{backend}-{kind}")
                    folder.mkdir()
                    database = f"bench_{name.partition('.')[0]}_{kind}"
                    if backend == "postgresql":
                        asyncio.run(_administer(cluster.url, f"CREATE DATABASE {database}"))
                    url = f"{cluster.url}/{database}" if backend == "postgresql" else None
                    settings = _settings(folder, database_url=url)
                    asyncio.run(_migrate(settings))
                    return settings

                figures = measure(str(SHARED / "data" / name), library)
                evidence.keep("import_files", backend, **{name: figures})
                if not figures["killed_is_equal"] or figures["added_again"]:
                    return 1
    return 0


def measure(file: str, library: Callable[[str], Settings]) -> dict[str, Any]:
    whole = library("whole")
    told, seconds, peak_bytes = run_import(whole, file)
    figures = {word: told[word] for word in VERDICTS}
    figures |= {"records_per_second": round(told["records"] / seconds), "peak_mib": peak_bytes >> 20}
    again, again_seconds, _ = run_import(whole, file)
    figures["again_records_per_second"] = round(again["records"] / again_seconds)
    figures["added_again"] = again["imported"] + again["possible_duplicate"] + again["updated"]
    killed = library("killed")
    figures["killed_at_records"] = kill_half_way(killed, file, seconds)
    run_import(killed, file)
    figures["killed_is_equal"] = hash_of(whole) == hash_of(killed)
    return figures


def kill_half_way(settings: Settings, file: str, seconds: float) -> int:
    arguments = command(file)
    process = subprocess.Popen(arguments, env=environment(settings), cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command
    time.sleep(seconds / 2)
    process.kill()
    process.wait()
    found: int = asyncio.run(_with(settings, books_in))
    return found


def hash_of(settings: Settings) -> str:
    return hashed(asyncio.run(_with(settings, documents)))


async def _with(settings: Settings, ask: Callable[[Database], Any]) -> Any:
    database = Database(settings)
    try:
        return await ask(database)
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
