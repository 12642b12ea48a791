#!/usr/bin/env bash
# Brings the database back from a backup: restore.sh [--to "2026-11-24 12:00:00+00"] [--force].
# Where Compose runs the library, all around it too: who uses the database is stopped first and started last, the replica
# is made anew, and a full backup follows. Else by `library`, once you have stopped the service.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! { [ -f .env ] && command -v docker >/dev/null; }; then
  library=.venv/bin/library
  [ -x "$library" ] || library=library
  exec "$library" restore "$@"
fi

mapfile -t using < <(docker compose ps --services --status running |
  grep -xE 'nginx|api|api-green|scheduler|backup|pgbouncer|replica|db')

again() {
  echo "Starting again what was stopped …"
  docker compose start "${using[@]}"
}

docker compose stop "${using[@]}"
# Whatever happens to the restore, nothing was touched until it says so: the library goes on.
trap again EXIT
docker compose run --rm --no-deps restore "$@"
docker compose up -d --wait --no-recreate --no-deps db
docker compose run --rm --no-deps --entrypoint find replica /var/lib/postgresql/data -mindepth 1 -delete
docker compose exec -T db psql -qX -U postgres -c "SELECT pg_create_physical_replication_slot('replica')
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'replica')"
trap - EXIT
again
docker compose exec -T backup library backup run --full
