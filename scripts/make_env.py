"""Writes what `docker compose up` needs: .env, env/library.env and secrets/, never over one that is there.

`make env ENVIRONMENT=production PUBLIC_URL=https://library.example.org` calls it. secrets/ is a folder that only its
owner enters; the files in it can be read by whoever is given one, because Compose hands a file over as it is and each
container's user is another.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

ROOT: Final = Path(__file__).resolve().parents[1]
ROLES: Final = ("superuser", "migrate", "app", "readonly", "exporter", "replicator")
# The network that docker-compose.yml gives the proxy and the service.
FRONT_NETWORK: Final = "10.203.1.0/24"
CERTIFICATE_DAYS: Final = 90


def main() -> None:
    """Write what is missing and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", choices=("production", "development"), required=True)
    parser.add_argument("--public-url", default="https://localhost")
    parser.add_argument("--image", default="localhost/library:latest")
    parser.add_argument("--folder", type=Path, default=ROOT)
    given = parser.parse_args()
    host = urlsplit(given.public_url).hostname
    if not host:
        sys.exit(f"PUBLIC_URL must be an address such as https://library.example.org, not {given.public_url!r}")
    os.umask(0o022)
    (given.folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    (given.folder / "env").mkdir(exist_ok=True)
    files = {
        ".env": f"LIBRARY_IMAGE={given.image}\n",
        "env/library.env": _settings(given.environment, given.public_url),
    }
    written = [name for name, text in files.items() if _write(given.folder / name, text)]
    if not (given.folder / "secrets" / "secret_key").exists():
        written += [
            f"secrets/{name}" for name, text in _secrets().items() if _write(given.folder / "secrets" / name, text)
        ]
    written += _added(given.folder / "secrets")
    written += _certificates(given.folder / "secrets" / "tls", host)
    print("\n".join(f"wrote {name}" for name in written) or "Everything was there already; nothing was changed.")


def _settings(environment: str, public_url: str) -> str:
    lines = [
        "# The service's settings in its containers; .env.example says what there is. Secrets are in secrets/.",
        f"ENVIRONMENT={environment}",
        f"PUBLIC_URL={public_url}",
        f"FORWARDED_ALLOW_IPS={FRONT_NETWORK}",
        "WEB_CONCURRENCY=2",
        "SHUTDOWN_DELAY=5",
    ]
    if environment == "development":
        lines += ["SMTP_HOST=mail", "SMTP_PORT=1025", "SMTP_TLS=none", "EMAIL_FROM=library@library.test"]
    return "\n".join(lines) + "\n"


def _secrets() -> dict[str, str]:
    passwords = {role: secrets.token_urlsafe(32) for role in ROLES}
    redis = secrets.token_urlsafe(32)
    by_role = {f"db_{role}_password": password for role, password in passwords.items()}
    pooled = "".join(f'"library_{role}" "{passwords[role]}"\n' for role in ("app", "readonly", "exporter"))
    return by_role | {
        "encryption_key": secrets.token_urlsafe(48),
        "metrics_token": secrets.token_urlsafe(32),
        "grafana_password": secrets.token_urlsafe(24),
        "database_url": f"postgresql://library_app:{passwords['app']}@pgbouncer:6432/library?pgbouncer=true",
        "database_url_migrate": f"postgresql://library_migrate:{passwords['migrate']}@db:5432/library",
        "pgbouncer_users": pooled,
        "redis_password": redis,
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "redis_users": f"user default on >{redis} ~* &* +@all -@admin -@dangerous +info\n",
        "redis_exporter_passwords": json.dumps({"redis://redis:6379": redis}),
        # Last: it says that all were written.
        "secret_key": secrets.token_urlsafe(48),
    }


def _added(folder: Path) -> list[str]:
    """What later releases need besides; made of what is there already."""
    password = (folder / "db_app_password").read_text(encoding="utf-8")
    files = {
        "database_replica_url": f"postgresql://library_app:{password}@replica:5432/library",
        "pgbackrest.conf": _repository(),
        # Of docker-compose.ha.yml.
        "db_rewind_password": secrets.token_urlsafe(32),
        "patroni_password": secrets.token_urlsafe(32),
    }
    return [f"secrets/{name}" for name, text in files.items() if _write(folder / name, text)]


def _repository() -> str:
    """Where backups go, and the key without which nobody reads them."""
    return (
        "# Keep a copy of this file elsewhere: without its key no backup can be read. docs/backup.md says how to use\n"
        "# a bucket, and how to have a second copy that nobody here can delete.\n"
        "[global]\n"
        "repo1-path=/var/lib/library-backups/pgbackrest\n"
        "repo1-cipher-type=aes-256-cbc\n"
        f"repo1-cipher-pass={secrets.token_urlsafe(48)}\n"
    )


def _certificates(folder: Path, host: str) -> list[str]:
    """Self-signed ones to begin with; ACME or a person puts real ones in their place."""
    folder.mkdir(exist_ok=True)
    kinds = {"ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}
    missing = [kind for kind in kinds if not (folder / f"{kind}.key").exists()]
    for kind in missing:
        key, certificate = folder / f"{kind}.key", folder / f"{kind}.crt"
        command = ["openssl", "req", "-x509", "-nodes", "-sha256", *kinds[kind], "-days", str(CERTIFICATE_DAYS),
                   "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                   "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        key.chmod(0o444)
    # The proxy answers to these names alone; one a word, if there are several.
    named = ["secrets/tls/names.conf"] if _write(folder / "names.conf", f"server_name {host};\n") else []
    return [*(f"secrets/tls/{kind}.crt" for kind in missing), *named]


def _write(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.write_text(text, encoding="utf-8")
    path.chmod(0o444 if path.parent.name == "secrets" else 0o644)
    return True


if __name__ == "__main__":
    main()
