"""TLS inside: PostgreSQL and Redis that speak nothing else, and ask for our certificate; no way around it."""

import os
import pwd
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.limits import Limit, Limits
from tests import servers
from tests.conftest import SECRET

pytestmark = pytest.mark.anyio

# Who vouches for whom: `ours` for the server, which has two names, and for us; a stranger for one who says he is us.
LEAVES = {"server": ("ours", "server"), "us": ("ours", "postgres"), "impostor": ("stranger", "postgres")}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ours", "stranger"):
        openssl(f"req -x509 {key} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name, (voucher, subject) in LEAVES.items():
        openssl(f"req {key} -subj /CN={subject} -keyout {name}.key -out {name}.csr")
        signed = f"-CA {voucher}.crt -CAkey {voucher}.key -CAcreateserial -extfile names -out {name}.crt"
        openssl(f"x509 -req -in {name}.csr -days 2 {signed}")
    return folder


@pytest.fixture(scope="module")
def cluster(certificates: Path) -> Iterator[servers.Postgres]:
    """A PostgreSQL that lets nobody in but by TLS and the certificate of the account."""
    with servers.postgres() as cluster:
        data = cluster.folder / "data"
        for name in ("server.crt", "server.key", "ours.crt"):
            shutil.copy(certificates / name, data)
            (data / name).chmod(0o600)
            if os.geteuid() == 0:
                owner = pwd.getpwnam(servers.POSTGRES_USER)
                os.chown(data / name, owner.pw_uid, owner.pw_gid)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\nssl_min_protocol_version = 'TLSv1.2'\nssl_ca_file = 'ours.crt'\n")
        (data / "pg_hba.conf").write_text("hostssl all all samehost cert\n")
        cluster.stop("fast")
        cluster.start(durable=False)
        yield cluster


async def _asked(settings: Settings) -> tuple[bool, str]:
    """Whether the connection is TLS, and whom the server took us for."""
    database = Database(settings)
    try:
        async with database.reading() as session:
            row = (
                await session.execute(text("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            ).one()
            return row.ssl, row.client_dn
    finally:
        await database.close()


def _settings(folder: Path, **urls: str) -> Settings:
    given: dict[str, Any] = {name: SecretStr(url) for name, url in urls.items()}
    return Settings(
        _env_file=None, data_dir=folder, environment=Environment.DEVELOPMENT, secret_key=SecretStr(SECRET), **given
    )


async def test_postgresql_is_asked_by_tls_alone_and_both_sides_show_who_they_are(
    cluster: servers.Postgres, certificates: Path, tmp_path: Path
) -> None:
    def settings(host: str = "localhost", trust: str = "ours", us: str = "us", mode: str = "verify-full") -> Settings:
        mine = f"&sslcert={certificates}/{us}.crt&sslkey={certificates}/{us}.key" if us else ""
        url = f"postgresql://postgres@{host}:{cluster.port}/postgres?sslmode={mode}"
        return _settings(tmp_path, database_url=f"{url}&sslrootcert={certificates}/{trust}.crt{mine}")

    assert await _asked(settings()) == (True, "/CN=postgres")
    assert await _asked(settings(host="127.0.0.1", mode="verify-ca")) == (True, "/CN=postgres")
    plain = _settings(tmp_path, database_url=f"postgresql://postgres@localhost:{cluster.port}/postgres?sslmode=disable")
    for refused in (
        plain,
        settings(trust="stranger"),
        settings(host="127.0.0.1"),  # not a name of the certificate
        settings(us="impostor"),
        settings(us=""),
    ):
        with pytest.raises((ssl.SSLError, DBAPIError, OSError)):
            await _asked(refused)


async def test_redis_is_asked_by_tls_alone_and_both_sides_show_who_they_are(certificates: Path, tmp_path: Path) -> None:
    async def is_counted(us: str = "us", trust: str = "ours", scheme: str = "rediss") -> bool:
        mine = f"ssl_certfile={certificates}/{us}.crt&ssl_keyfile={certificates}/{us}.key"
        tls = f"?ssl_ca_certs={certificates}/{trust}.crt&{mine}" if scheme == "rediss" else ""
        limits = Limits(_settings(tmp_path, redis_url=f"{scheme}://localhost:{server.port}/0{tls}"))
        with capture_logs() as lines:
            await limits.take(Limit("tls", 5, 60), "somebody")
        await limits.close()
        return not [line for line in lines if line["event"] == "breaker_open"]

    with servers.redis(tls=certificates) as server:
        assert await is_counted()
        assert not await is_counted(trust="stranger")
        assert not await is_counted(us="impostor")
        assert not await is_counted(scheme="redis")
