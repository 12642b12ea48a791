#!/usr/bin/env bash
# The replica: copies the primary once, then follows it through a slot of its own.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  PGPASSWORD=$(cat /run/secrets/db_replicator_password)
  export PGPASSWORD
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  # scripts/init-db.sql made the slot.
  if ! pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --wal-method stream --checkpoint fast --slot replica \
    --dbname "host=db user=library_replicator application_name=replica"; then
    echo "the primary can't be copied; trying again when this is started again" >&2
    find "$PGDATA" -mindepth 1 -delete
    exit 1
  fi
fi
exec postgres -c config_file=/etc/library/postgresql.conf
