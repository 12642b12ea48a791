"""Where Debian's servers stand in for the images': what the image's own entrypoint does, and nothing of our files.

The database's image also has the `library` command, with a Python of its own: the tests' own stands in for it.

The official PostgreSQL image makes the cluster and runs /docker-entrypoint-initdb.d before its command; Debian's server
has no such entrypoint, and keeps its programs off the PATH. What watches has Debian's names for its programs.
"""

import sys
import sysconfig
from pathlib import Path

from tests.integration.stack.compose import ROOT

LIBRARY = [
    (Path(sys.base_prefix), "/opt/python"),
    (Path(sysconfig.get_path("purelib")), "/opt/library"),
    *((ROOT / name, f"/srv/library/{name}") for name in ("app", "alembic", "alembic.ini")),
]
COMMAND = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/srv/library:/opt/library PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/python3 -m app.cli "$@"
"""
# The image's own entrypoint; Alertmanager's has two options as well.
ALERTS = ["prometheus-alertmanager", "--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
PROGRAMS = {"prom/prometheus": ["prometheus"], "prom/alertmanager": ALERTS} | {
    image: [f"prometheus-{name}-exporter"]
    for image, name in {
        "prometheuscommunity/postgres-exporter": "postgres", "oliver006/redis_exporter": "redis",
        "nginx/nginx-prometheus-exporter": "nginx", "prom/blackbox-exporter": "blackbox", "prom/node-exporter": "node",
    }.items()
}  # fmt: skip
NOBODY = "65534:65534"
POSTGRES = """
PATH=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1):$PATH
if [ -n "${POSTGRES_INITDB_ARGS:-}" ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" -U postgres --auth-local=peer $POSTGRES_INITDB_ARGS
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  psql -q -U postgres -f /docker-entrypoint-initdb.d/init-db.sql
  pg_ctl -D "$PGDATA" -w stop
fi
exec "$@"
"""
