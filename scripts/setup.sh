#!/usr/bin/env bash
# Makes .venv and installs the hash-locked requirements: `setup.sh run` for the service, `setup.sh dev` for tests too;
# `setup.sh bench` makes .venv-bench, which holds what the service is measured beside.
# Does nothing when that was done already; makes .venv anew when it is half-made, was moved, or its Python is gone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:?usage: setup.sh run|dev|bench}
venv=.venv
[ "$profile" != bench ] || venv=.venv-bench
stamp=$venv/library-setup

# A .venv that is a link was put there by somebody who looks after it himself.
[ -L $venv ] && exit 0

# What a finished set-up writes down; any difference means that there is something to do.
fingerprint() {
  printf '%s\n' "$PWD"
  sha256sum pyproject.toml requirements.in requirements.txt requirements-dev.txt
  [ "$profile" != bench ] || sha256sum requirements-bench.txt
}

is_usable() { [ -x $venv/bin/pip ] && [ "$(head -n 1 $stamp 2>/dev/null)" = "$PWD" ] && $venv/bin/python -c 'import pip' 2>/dev/null; }

is_current() {
  local made
  made=$(cat "$stamp.dev" 2>/dev/null || cat "$stamp.bench" 2>/dev/null || { [ "$profile" = run ] && cat "$stamp.run" 2>/dev/null; }) || return 1
  [ "$made" = "$(fingerprint)" ] && [ -x $venv/bin/library ]
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_venv() {
  local python found=""
  rm -rf $venv
  for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    is_recent "$python" || continue
    found=${found:-$python}
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      "$python" -m venv $venv && return
    elif "$python" -m virtualenv --version >/dev/null 2>&1; then
      "$python" -m virtualenv --quiet $venv && return
    fi
  done
  if [ -z "$found" ]; then
    echo "The library needs Python 3.11 or newer, and there is none on the PATH; install it (on Debian: apt install python3 python3-venv), or name one with PYTHON=/path/to/python3." >&2
  elif command -v virtualenv >/dev/null; then
    virtualenv --quiet --python "$(command -v "$found")" $venv && return
  else
    version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$found can't make virtual environments, because its distribution keeps that part apart; install it (apt install python3-venv, or python$version-venv), and run this again." >&2
  fi
  exit 1
}

# Shows what pip said only if it failed.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ $status = 0 ] || cat "$log" >&2
  rm -f "$log"
  return $status
}

is_current && is_usable && exit 0

mkdir -p .make
if command -v flock >/dev/null; then
  exec 9>.make/setup.lock
  flock 9
  is_current && is_usable && exit 0
fi

lock=requirements.txt what="what the service needs"
[ "$profile" != dev ] || { lock=requirements-dev.txt what="what checks and tests need"; }
[ "$profile" != bench ] || { lock=requirements-bench.txt what="what the service is measured beside"; }
echo "Installing $what into $venv (a minute or so) …"
is_usable || make_venv
rm -f $stamp*
printf '%s\n' "$PWD" >$stamp
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
quietly $venv/bin/pip install --require-hashes --requirement $lock
quietly $venv/bin/pip install --no-deps --no-build-isolation --editable .
fingerprint >"$stamp.$profile"
