#!/usr/bin/env bash
# Runs a command of Patroni's with what it may know only here: its passwords, the node's name and address.
#   node.sh patroni /etc/library/patroni.yml                  the node itself
#   docker compose exec db-1 /etc/library/node.sh patronictl list    by hand
set -euo pipefail

secret() { cat "/run/secrets/$1"; }

export PATRONI_NAME=$NODE PATRONI_POSTGRESQL_DATA_DIR=$PGDATA PGBACKREST_PG1_PATH=$PGDATA
export PATRONI_RESTAPI_CONNECT_ADDRESS=$NODE:8008 PATRONI_POSTGRESQL_CONNECT_ADDRESS=$NODE:5432
PATRONI_RESTAPI_USERNAME=patroni PATRONI_RESTAPI_PASSWORD=$(secret patroni_password)
PATRONI_REPLICATION_USERNAME=library_replicator PATRONI_REPLICATION_PASSWORD=$(secret db_replicator_password)
PATRONI_REWIND_USERNAME=library_rewind PATRONI_REWIND_PASSWORD=$(secret db_rewind_password)
export PATRONI_RESTAPI_USERNAME PATRONI_RESTAPI_PASSWORD PATRONI_REPLICATION_USERNAME PATRONI_REPLICATION_PASSWORD \
  PATRONI_REWIND_USERNAME PATRONI_REWIND_PASSWORD
export PATRONICTL_CONFIG_FILE=/etc/library/patroni.yml
exec "$@"
