"""The soak: circulation through faults, then the verdict; and many requests without any, and a watch for leaks.

Run by `make soak`; `python -m benchmarks.soak --help` lists the sizes. Figures go to build/evidence/R1.json, R2.json
and R11.json. Exits with 1 on any breach.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from app.core.config import Settings
from benchmarks.soaking import reading, watching
from benchmarks.soaking.load import Outcome, Size, Soak
from tests import evidence, servers
from tests.conftest import _administer, _migrate, _settings
from tests.integration.commands.command_line import CommandLine

SHOWN: Final = 20
REQUESTS: Final = 200_000
FULL_REQUESTS: Final = 10_000_000
READING_WORKERS: Final = 2
FULL: Final = Size(100_000, workers=8, clients=32, books=60, readers=150, kill_every_seconds=25, replays=2_000)
QUICK: Final = Size(2_000, workers=8, clients=32, books=30, readers=100, kill_every_seconds=8, replays=200, seconds=35)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # its servers stop with it
    asked = _arguments()
    broken = 0
    if asked.part != "reading":
        broken += _circulation(asked)
    if asked.part != "circulation":
        broken += _reading(asked)
    return 1 if broken else 0


def _circulation(asked: argparse.Namespace) -> int:
    """Lend and book through faults; gives how many promises were broken."""
    size = QUICK if asked.quick else FULL
    size = replace(size, operations=asked.operations or size.operations, seconds=asked.seconds or size.seconds)
    print(f"soak on {_backend(asked)}, seed {asked.seed}: {asdict(size)}")
    outcome = soak(size, seed=asked.seed, backend=_backend(asked), given=asked.postgres)
    for name, value in outcome.figures.items():
        print(f"  {name:<24} {value}")
    for breach in outcome.breaches[:SHOWN]:
        print(f"  BREACH {breach}")
    about = {"limit": 0, "size": outcome.figures["operations"], "seed": asked.seed}
    evidence.keep("R1", _backend(asked), value=len(outcome.breaches), **about, **outcome.figures)
    evidence.keep("R2", _backend(asked), value=outcome.broken_promises, **about)
    return len(outcome.breaches)


def _reading(asked: argparse.Namespace) -> int:
    """Ask by the hundred thousand; gives how much leaked."""
    requests = asked.requests or (FULL_REQUESTS if asked.full else REQUESTS)
    print(f"{requests} requests on {_backend(asked)}, {READING_WORKERS} workers, nothing killed")
    found = read_much(requests, seed=asked.seed, backend=_backend(asked), given=asked.postgres)
    for name, value in found.figures().items():
        print(f"  {name:<24} {value}")
    for leak in found.leaks:
        print(f"  LEAK   {leak}")
    most = max((each.mib_an_hour for each in watching.growths(found.samples)), default=0.0)
    evidence.keep(
        "R11", _backend(asked), value=len(found.leaks), limit=0, size=f"{found.requests} requests", seed=asked.seed,
        steepest_mib_an_hour=most, **found.figures(),
    )  # fmt: skip
    return len(found.leaks)


def _backend(asked: argparse.Namespace) -> str:
    return "sqlite" if asked.sqlite else "postgresql"


def read_much(requests: int, *, seed: int, backend: str, given: str | None = None) -> reading.Found:
    """On servers of its own, or on the PostgreSQL `given`."""
    with (
        _library(seed, backend, given) as (folder, settings, library, _),
        library.serving("--workers", str(READING_WORKERS)) as service,
    ):
        service.wait_until_all_answer()
        return asyncio.run(reading.read(settings, service, requests=requests, seed=seed, folder=folder))


def soak(size: Size, *, seed: int, backend: str, given: str | None = None) -> Outcome:
    """Run it on servers of its own, or on the PostgreSQL `given`, which is then not restarted."""
    with (
        _library(seed, backend, given) as (_, settings, library, cluster),
        library.serving("--workers", str(size.workers)) as service,
    ):
        service.wait_until_all_answer()
        return asyncio.run(Soak(size, seed, settings, service, library, cluster).run())


Prepared = tuple[Path, Settings, CommandLine, servers.Postgres | None]


@contextmanager
def _library(seed: int, backend: str, given: str | None) -> Iterator[Prepared]:
    """A folder, the settings of an empty library in it, its command line, and the database's server if it is ours."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="library-soak-")))
        cluster = None
        if backend == "postgresql" and not given:
            cluster = stack.enter_context(servers.postgres(durable=True))
        url = stack.enter_context(_database(given or (cluster.url if cluster else None), seed))
        settings = _service_settings(folder, url)
        asyncio.run(_migrate(settings))
        yield folder, settings, CommandLine.of(settings), cluster


@contextmanager
def _database(server: str | None, seed: int) -> Iterator[str | None]:
    """A new database on the server, dropped at the end; None without a server."""
    if server is None:
        yield None
        return
    name = f"soak_{seed}_{os.getpid()}"
    asyncio.run(_administer(server, f"CREATE DATABASE {name}"))
    try:
        yield f"{server}/{name}"
    finally:
        asyncio.run(_administer(server, f"DROP DATABASE {name} WITH (FORCE)"))


def _service_settings(folder: Path, url: str | None) -> Settings:
    """As users run it, but with tokens that last, no limits for the few addresses, and a soak's own clock for jobs."""
    return _settings(folder, database_url=url).model_copy(
        update={
            "public_url": "http://localhost",
            "access_token_expire_minutes": 24 * 60,
            "rate_limit_enabled": False,
            "scheduler_enabled": False,
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a size that ends within 90 s on two cores")
    parser.add_argument("--operations", type=int, help="another number of operations")
    parser.add_argument("--seconds", type=float, help="begin nothing after so long, and judge what was done")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311  # a load, no secret
    parser.add_argument("--requests", type=int, help=f"another number of requests than {REQUESTS:,}")
    parser.add_argument("--full", action="store_true", help=f"{FULL_REQUESTS:,} requests")
    parser.add_argument("--part", choices=("circulation", "reading"), help="one half of it only")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of PostgreSQL")
    parser.add_argument("--postgres", metavar="URL", help="on this PostgreSQL instead of one of its own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
