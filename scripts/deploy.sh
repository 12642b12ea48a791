#!/usr/bin/env bash
# Deploys to a host with Docker Compose: deploy.sh STEP, with the steps check, build, test, migrate, seed, start, health,
# full, blue-green, canary, rollback and status. `deploy.sh --help` explains them, docs/deploy.md tells the whole way. What
# each does stands in app/commands/deploy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh run
exec .venv/bin/library deploy "$@"
