"""Import of the files of real records on both databases: counts, rate and peak memory, into build/evidence.

Run from the repository: `python -m benchmarks.import_files`; the records are looked for in ../shared/data.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests import evidence, servers
from tests.conftest import SHARED, _administer, _migrate, _settings
from tests.integration.conftest import run_import

FILES = ("loc_sample.mrc.xz", "loc_100k.mrc.xz")


def main() -> int:
    with servers.postgres() as cluster:
        for name in FILES:
            _measure(name, "sqlite", None)
            database = f"bench_{name.partition('.')[0]}"
            asyncio.run(_administer(cluster.url, f"CREATE DATABASE {database}"))
            _measure(name, "postgresql", f"{cluster.url}/{database}")
    return 0


def _measure(name: str, backend: str, database_url: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder), database_url=database_url)
        asyncio.run(_migrate(settings))
        told, seconds, peak_bytes = run_import(settings, str(SHARED / "data" / name))
    figures = {word: told[word] for word in ("records", "imported", "possible_duplicate", "rejected")}
    figures |= {"records_per_second": round(told["records"] / seconds), "peak_mib": peak_bytes >> 20}
    evidence.keep("import_files", backend, **{name: figures})


if __name__ == "__main__":
    sys.exit(main())
