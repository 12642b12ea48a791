#!/usr/bin/env bash
# Releases on Kubernetes, by the weights of the HTTPRoute `library`:
#   k8s-deploy.sh canary     sha256:…   a tenth of the requests for WATCH seconds; back by itself if the rules say so
#   k8s-deploy.sh blue-green sha256:…   all requests at once, watched in the same way; the old pods stay for the way back
#   k8s-deploy.sh release    sha256:…   the digest becomes production's, pod by pod, and a canary ends
#   k8s-deploy.sh back                  all requests to the release before, at once
# Prometheus at PROMETHEUS_URL is asked the rules of app/commands/deploy/rules.py. OVERLAY, NAMESPACE, WATCH, SAMPLE and
# SHARE may be given; KUBECONFIG_CONTENT is for a pipeline, whose secrets are values and no files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

namespace=${NAMESPACE:-library} share=${SHARE:-10}
kubectl() { .venv-deploy/bin/kubectl --namespace "$namespace" "$@"; }

if [ -n "${KUBECONFIG_CONTENT:-}" ]; then
  KUBECONFIG=$(mktemp)
  export KUBECONFIG
  trap 'rm -f "$KUBECONFIG"' EXIT
  printf '%s' "$KUBECONFIG_CONTENT" >"$KUBECONFIG"
fi

# weigh STABLE CANARY: one list for every rule of the route; a weight of 0 takes a backend out.
weigh() {
  local backends='{"name":"api","port":80,"weight":'$1'}' rule patch=""
  [ "$2" = 0 ] || backends+=',{"name":"api-canary","port":80,"weight":'$2'}'
  for rule in 0 1; do
    patch+=${patch:+,}'{"op":"replace","path":"/spec/rules/'$rule'/backendRefs","value":['$backends']}'
  done
  kubectl patch httproute library --type=json --patch "[$patch]"
}

# judge [OPTION…]: the same judge as on Compose; the services tell the releases apart.
judge() { .venv/bin/library deploy judge --prometheus "${PROMETHEUS_URL:?where does Prometheus answer?}" "$@"; }

watch() {
  judge --canary "namespace=\"$namespace\",service=\"api-canary\"" --stable "namespace=\"$namespace\",service=\"api\"" \
    --seconds "${WATCH:-300}" --sample "${SAMPLE:-200}" --pause "${PAUSE:-5}" && return
  echo "The rules speak against the release: going back." >&2
  back
  exit 1
}

has_canary() { kubectl get deployment api-canary >/dev/null 2>&1; }

# While a canary answers, the route stays as it is: it would send everybody to pods that are being replaced.
install() {
  local but=""
  if has_canary; then but=library-part!=route; fi
  make --silent k8s-render OVERLAY="$1" DIGEST="$2"
  kubectl apply --filename "build/k8s/$1.yaml" ${but:+--selector "$but"}
}

beside() {
  judge
  install canary "$1"
  kubectl rollout status deployment/api-canary --timeout=15m || { back; exit 1; }
}

back() {
  if has_canary; then
    weigh 100 0
    sleep "${DRAIN:-15}"
    kubectl delete deployment,service,configmap --selector library-release=canary
  else
    kubectl rollout undo deployment/api
    kubectl rollout status deployment/api --timeout=15m
  fi
}

case "${1:-} ${2:-}" in
  "canary sha256:"*)
    beside "$2"
    weigh $((100 - share)) "$share"
    watch
    ;;
  "blue-green sha256:"*)
    beside "$2"
    replicas=$(kubectl get deployment api --output 'jsonpath={.spec.replicas}')
    kubectl patch deployment api-canary --patch '{"spec":{"replicas":'"$replicas"'}}'
    kubectl rollout status deployment/api-canary --timeout=15m
    weigh 0 100
    watch
    ;;
  "release sha256:"*)
    install "${OVERLAY:-production}" "$2"
    kubectl rollout status deployment/api --timeout=15m
    if has_canary; then back; fi
    ;;
  "back ") back ;;
  *) sed -n '2,8p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
