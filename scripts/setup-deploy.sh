#!/usr/bin/env bash
# Installs what `make check-deploy` needs: kubectl, checkov and the like into .venv-deploy, and from npm the schemas of
# custom resources. Does nothing when that was done already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv-deploy node=.make/deploy
stamp=$venv/library-setup
lock=tests/deployment/node/package-lock.json
provider=requirements-provider.txt

# One that is a link was put there by somebody who looks after it himself.
[ -L $venv ] && exit 0

fingerprint() { printf '%s\n' "$PWD" && sha256sum requirements-deploy.txt $provider $lock; }

is_current() {
  [ "$(cat $stamp 2>/dev/null)" = "$(fingerprint)" ] && [ -x $venv/bin/python ] && [ -d $node/node_modules ]
}

is_current && exit 0
mkdir -p $node
exec 9>.make/setup-deploy.lock
flock 9
is_current && exit 0

echo "Installing what \`make check-deploy\` needs into $venv (a minute or so) …"
.venv/bin/uv venv --quiet --clear --python .venv/bin/python $venv
.venv/bin/uv pip sync --quiet --python $venv/bin/python --require-hashes requirements-deploy.txt
# Only read, never imported: unpacked it would be 800 MB.
.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $provider --dest $node
cp tests/deployment/node/package.json $lock $node/
npm() {
  .venv/bin/python -c 'import subprocess, sys; from scripts import assets; sys.exit(subprocess.run([*assets.npm(), *sys.argv[1:]]).returncode)' "$@"
}
npm ci --prefix $node --ignore-scripts --no-audit --no-fund --loglevel=error
fingerprint >$stamp
