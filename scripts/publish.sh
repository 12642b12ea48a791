#!/usr/bin/env bash
# Pushes an image and tells its digest, by which alone it is deployed: publish.sh TAG. With REGISTRY_USER and
# REGISTRY_TOKEN it signs in first; in a GitHub workflow the digest becomes the step's output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=${1:?usage: publish.sh TAG}
engine=${ENGINE:-$(for found in docker podman buildah; do command -v $found >/dev/null && echo $found && break; done)}
if [ -n "${REGISTRY_TOKEN:-}" ]; then
  printf '%s' "$REGISTRY_TOKEN" | "$engine" login --username "$REGISTRY_USER" --password-stdin "${tag%%/*}"
fi
mkdir -p build
case $engine in
  docker)
    docker push --quiet "$tag"
    docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$tag" | sed -n "s|^${tag%:*}@||p" >build/digest
    ;;
  podman | buildah) "$engine" push --digestfile build/digest "$tag" ;;
  *) echo "Pushing an image takes docker, podman or buildah, and none is here." >&2; exit 1 ;;
esac
digest=$(head -n 1 build/digest)
case $digest in sha256:*) ;; *) echo "The registry gave $tag no digest." >&2; exit 1 ;; esac
echo "$digest"
[ -z "${GITHUB_OUTPUT:-}" ] || echo "digest=$digest" >>"$GITHUB_OUTPUT"
