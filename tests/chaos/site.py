"""The site that is harmed: the shipped stack on one machine, as real processes in namespaces of the run's own.

Readers → nginx (shipped files) → two services → a fault proxy → PgBouncer (shipped) → PostgreSQL with a replica;
beside it Redis (shipped, behind a fault proxy too), a scheduler and a mail server.
"""

import asyncio
import os
import pwd
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import psutil
from pydantic import SecretStr

from app.core.config import Settings
from tests.chaos import inside
from tests.chaos.parts import Part
from tests.chaos.proxy import FaultProxy, fault_proxy
from tests.integration.backups.cluster import Cluster, keeping
from tests.integration.commands.command_line import COMMAND, ROOT, CommandLine, children
from tests.mailserver import MailServer, mail_server
from tests.servers import Postgres, memory_folder

PORTS: Final = {"api-1": 8001, "api-2": 8002, "api-3": 8003}
LOGS: Final = ROOT / "build" / "chaos"
USUAL: Final = ("api-1", "api-2")
WORKERS: Final = {"api-1": 2}
PROXY_PORT: Final = 8443
LOG_SIZE: Final = "256m"
UPLOADS_SIZE: Final = "6m"
PGBOUNCER_PORT: Final = 6432
START_SECONDS: Final = 90
NOTICED_SECONDS: Final = 1.0
REDIS_PORT: Final = 6379
SMALL_LOG: Final = "max_wal_size = 64MB\nmin_wal_size = 32MB\nwal_keep_size = 16MB\ndeadlock_timeout = 300ms\n"


@dataclass
class Site:
    """Everything that runs. A fault harms one part of it, and undoes the harm."""

    folder: Path
    cluster: Cluster
    replica: Postgres
    settings: Settings
    database_proxy: FaultProxy
    redis_proxy: FaultProxy
    mail: MailServer
    is_full: bool
    parts: dict[str, Part] = field(default_factory=dict)
    kills: dict[str, list[float]] = field(default_factory=dict)
    """By kind: how long no write was acknowledged, each time."""

    @property
    def library(self) -> CommandLine:
        """The command line of an operator, past PgBouncer and our proxies."""
        return self.cluster.library()

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def environment(self, **changes: str) -> dict[str, str]:
        """What a service gets: the shipped secrets, this machine's addresses."""
        app = self.secret("db_app_password")
        redis = self.secret("redis_password")
        given = {
            "DATABASE_URL": f"postgresql://library_app:{app}@127.0.0.1:{self.database_proxy.port}/library"
            "?pgbouncer=true&sslmode=disable",
            "DATABASE_REPLICA_URL": f"postgresql://library_app:{app}@replica:{self.replica.port}/library?sslmode=disable",
            "REDIS_URL": f"redis://:{redis}@127.0.0.1:{self.redis_proxy.port}/0",
            "SECRET_KEY": self.secret("secret_key"),
            "ENCRYPTION_KEY": self.secret("encryption_key"),
            "ENVIRONMENT": "production",
            "PUBLIC_URL": f"https://{inside.HOST}",
            "FORWARDED_ALLOW_IPS": "127.0.0.1",
            "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
            "RATE_LIMIT_ENABLED": "false",  # a few addresses stand for a town
            "SCHEDULER_ENABLED": "false",
            "UPLOAD_DIR": str(self.uploads),
            "SMTP_HOST": "mail",
            "SMTP_PORT": str(self.mail.port),
            "SMTP_TLS": "none",
            "EMAIL_FROM": "desk@library.test",
            "LOG_FORMAT": "json",
        }
        return CommandLine(self.folder).environment(given | changes)

    async def start_service(self, name: str, *, wrapped: Sequence[str] = (), **changes: str) -> Part:
        """Start one of ours and wait until it is ready."""
        part = self.begin_service(name, wrapped=wrapped, **changes)
        await part.wait_until_ready(f"http://127.0.0.1:{PORTS[name]}/health/ready", START_SECONDS)
        return part

    def begin_service(self, name: str, *, wrapped: Sequence[str] = (), **changes: str) -> Part:
        own = {"DATA_DIR": str(self.folder / name), "WEB_CONCURRENCY": str(WORKERS.get(name, 1)), **changes}
        command = [*wrapped, *COMMAND, "serve", "--port", str(PORTS[name])]
        return self.start(name, command, self.environment(**own))

    def start_scheduler(self, name: str = "scheduler", **changes: str) -> Part:
        own = {"DATA_DIR": str(self.folder / name), "SCHEDULER_ENABLED": "true", **changes}
        return self.start(name, [*COMMAND, "scheduler"], self.environment(**own))

    def start(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> Part:
        part = Part.started(name, command, environment or dict(os.environ), self.folder / "logs" / f"{name}.log")
        self.parts[name] = part
        return part

    def start_pgbouncer(self) -> Part:
        # Not `runuser`, which stays before it: who ends that leaves PgBouncer running.
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"]
        return self.start("pgbouncer", [*as_postgres, "pgbouncer", "/run/pgbouncer.ini"])

    def start_redis(self, *more: str) -> Part:
        return self.start("redis", ["redis-server", str(ROOT / "redis" / "redis.conf"), "--bind", "127.0.0.1", *more])

    def members(self, *names: str) -> None:
        """What a deploy does: write who answers, and let the proxy read it."""
        lines = "".join(f"server 127.0.0.1:{PORTS[name]} max_fails=0;\n" for name in names)
        (self.folder / "nginx" / "upstream" / "members.conf").write_text(lines)
        self.reload_proxy()

    def reload_proxy(self) -> None:
        if "nginx" in self.parts:
            self.parts["nginx"].process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """The processes of api-1 that answer."""
        return children(self.parts["api-1"].process.pid)

    def supervisors(self) -> dict[str, int]:
        """Who must not be restarted for the library to come back."""
        return {name: self.parts[name].process.pid for name in USUAL if self.parts[name].process.poll() is None}

    async def keep_pgbouncer(self) -> None:
        """Start it again whenever it has ended, as its container is; Debian 12's also ends by itself now and then."""
        while True:
            await asyncio.sleep(NOTICED_SECONDS)
            if self.parts["pgbouncer"].process.poll() is not None:
                await self.start_pgbouncer().wait_for_port(PGBOUNCER_PORT)

    async def mend(self) -> None:
        """Start what a fault has left ended, so that the next one meets a whole site."""
        for name in USUAL:
            if self.parts[name].process.poll() is not None:
                await self.start_service(name)
        await self.until_whole()

    async def until_whole(self) -> None:
        """Wait until both workers of api-1 answer: whoever was asked holds a connection to the database."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if sum(map(self._is_at_work, self.workers())) == WORKERS["api-1"]:
                return
            async with httpx2.AsyncClient(timeout=5) as client:
                asked = (client.get(f"http://127.0.0.1:{PORTS['api-1']}/health/ready") for _ in range(8))
                await asyncio.gather(*asked, return_exceptions=True)
        raise AssertionError("the workers are not back")

    def _is_at_work(self, pid: int) -> bool:
        with suppress(psutil.Error):
            held = psutil.Process(pid).net_connections("tcp4")
            return any(each.raddr[1:] == (self.database_proxy.port,) for each in held)
        return False


@dataclass(frozen=True)
class Grounds:
    """What stands before anything of ours runs: a folder, a database server and its replica."""

    folder: Path
    cluster: Cluster
    replica: Postgres


@contextmanager
def grounds() -> Iterator[Grounds]:
    """Made in these namespaces, and removed again."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="library-chaos-", dir=memory_folder()))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        make = [sys.executable, str(ROOT / "scripts" / "make_env.py"), "--environment", "production"]
        inside.run(*make, "--public-url", f"https://{inside.HOST}", "--folder", str(folder))
        inside.furnish(folder, ROOT)
        for name in ("logs", "uploads", *PORTS, "scheduler", "scheduler-2"):
            (folder / name).mkdir(exist_ok=True)
        inside.memory(folder / "uploads", UPLOADS_SIZE)
        stack.callback(inside.run, "umount", "--lazy", str(folder / "uploads"))
        cluster = stack.enter_context(keeping("30s", _prepare))
        stack.callback(inside.run, "umount", "--lazy", str(cluster.data / "pg_wal"))
        replica = Postgres(folder / "replica")
        replica.follow(cluster)
        replica.start()
        stack.callback(replica.stop)
        shipped = (ROOT / "pgbouncer" / "pgbouncer.ini").read_text()
        Path("/run/pgbouncer.ini").write_text(shipped.replace("port=5432", f"port={cluster.port}"))
        stack.callback(cluster.stop)
        yield Grounds(folder, cluster, replica)


@asynccontextmanager
async def opened(grounds: Grounds, *, is_full: bool) -> AsyncIterator[Site]:
    """The whole site on these grounds, answering; ended afterwards."""
    cluster = grounds.cluster
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(fault_proxy("127.0.0.1", PGBOUNCER_PORT))
        redis = await stack.enter_async_context(fault_proxy("127.0.0.1", REDIS_PORT))
        mail = stack.enter_context(mail_server())
        settings = cluster.settings().model_copy(
            update={
                "secret_key": SecretStr((grounds.folder / "secrets" / "secret_key").read_text().strip()),
                "public_url": f"https://{inside.HOST}",
                "access_token_expire_minutes": 24 * 60,
            }
        )
        site = Site(grounds.folder, cluster, grounds.replica, settings, databases, redis, mail, is_full)
        try:
            await _start_all(site)
            keeping = asyncio.create_task(site.keep_pgbouncer())
            yield site
            keeping.cancel()
        finally:
            shutil.copytree(site.folder / "logs", LOGS, dirs_exist_ok=True)
            for part in reversed(site.parts.values()):
                if part.process.poll() is None:
                    part.hang(hanging=False)
                    await part.end(signal.SIGTERM if part.name == "nginx" else signal.SIGKILL)


def _prepare(cluster: Cluster) -> None:
    """Before the database's first start: its log on a disk of its own, which is small."""
    log, kept = cluster.data / "pg_wal", cluster.data / "pg_wal.kept"
    owner = pwd.getpwnam(cluster.data.owner())
    log.rename(kept)
    log.mkdir(mode=0o700)
    inside.memory(log, LOG_SIZE, "mode=700", f"uid={owner.pw_uid}", f"gid={owner.pw_gid}")
    inside.run("cp", "-a", f"{kept}/.", str(log))
    shutil.rmtree(kept)
    with (cluster.data / "postgresql.conf").open("a") as config:
        config.write(SMALL_LOG)


async def _start_all(site: Site) -> None:
    port = str(site.cluster.port)
    psql = ("psql", "-q", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-d", "postgres")
    inside.run(*psql, "-f", str(ROOT / "scripts" / "init-db.sql"))
    owner = f"postgresql://library_migrate:{site.secret('db_migrate_password')}@127.0.0.1:{port}/library"
    site.library.done("migrate", DATABASE_URL=owner)
    await site.start_pgbouncer().wait_for_port(PGBOUNCER_PORT)
    await site.start_redis().wait_for_port(REDIS_PORT)
    await asyncio.gather(*(site.start_service(name) for name in USUAL))
    site.members(*USUAL)
    site.start_scheduler()
    alone = 'mount -t tmpfs tmpfs /tmp; exec nginx -g "daemon off;"'
    proxy = site.start("nginx", ["unshare", "--mount", "--", "sh", "-euc", alone])
    await proxy.wait_for_port(PROXY_PORT)
    await site.until_whole()
