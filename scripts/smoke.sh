#!/usr/bin/env bash
# Asks a running service what a reader would ask first, and that what is the staff's stays closed: smoke.sh URL.
set -euo pipefail

url=${1:?usage: smoke.sh URL}

# answers STATUS PATH [PATTERN]
answers() {
  local told
  told=$(curl --silent --show-error --max-time 10 --write-out '\n%{http_code}' "${url%/}$2") || { echo "$2: no answer" >&2; return 1; }
  if [ "${told##*$'\n'}" != "$1" ] || ! grep -q -- "${3:-}" <<<"$told"; then
    echo "$2: expected $1 and '${3:-}', got ${told##*$'\n'}" >&2
    return 1
  fi
}

answers 200 /health/ready '"ready"'
answers 200 '/api/v1/books?limit=1' '"items"'
answers 200 '/api/v1/books?q=a&limit=1' '"items"'
answers 200 / '<html'
answers 401 /api/v1/auth/me
answers 403 /health/detailed || answers 404 /health/detailed
echo "$url answers as it should."
