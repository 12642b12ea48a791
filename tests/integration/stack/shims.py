"""Where Debian's servers stand in for the images': what the image's own entrypoint does, and nothing of our files.

The official PostgreSQL image makes the cluster and runs /docker-entrypoint-initdb.d before its command; Debian's server
has no such entrypoint, and keeps its programs off the PATH.
"""

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
