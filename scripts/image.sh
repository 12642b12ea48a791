#!/usr/bin/env bash
# Builds the image with whatever builder is here: image.sh TAG [BASE]. ENGINE=docker|podman|buildah chooses one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=${1:?usage: image.sh TAG [BASE]} base=${2:-}
engine=${ENGINE:-}
for found in docker podman buildah; do
  [ -n "$engine" ] || ! command -v $found >/dev/null || engine=$found
done
options=(--tag "$tag" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
[ -z "$base" ] || options+=(--build-arg "BASE=$base")
case $engine in
  docker | podman) "$engine" build "${options[@]}" . ;;
  buildah)
    # chroot works where no container can be started; docker's format keeps the health check.
    buildah build --quiet --layers --isolation chroot --network host --format docker "${options[@]}" .
    ;;
  *) echo "Building an image takes docker, podman or buildah, and none is here." >&2; exit 1 ;;
esac
