#!/usr/bin/env bash
# Makes a backup now, or tries whether the newest can be restored: backup.sh [--full | --test | --list | --check].
# Where Compose runs the library, in its container `backup`; else by `library`, with the settings that are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  "") words=(run) ;;
  --full) words=(run --full) ;;
  --test) words=(test) ;;
  --list) words=(list) ;;
  --check) words=(check) ;;
  *) echo "usage: backup.sh [--full | --test | --list | --check]" >&2; exit 2 ;;
esac

if [ -f .env ] && command -v docker >/dev/null; then
  exec docker compose exec -T backup library backup "${words[@]}"
fi
library=.venv/bin/library
[ -x "$library" ] || library=library
exec "$library" backup "${words[@]}"
