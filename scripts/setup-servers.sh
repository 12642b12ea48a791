#!/usr/bin/env bash
# Installs, from Debian's packages, what the tests need besides Python's: above all the servers that they start for
# themselves. None is left running, and what is there already is left alone. A server whose address the environment
# gives (TEST_POSTGRES_URL) isn't needed here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

oldest_postgres=15

has_venv() {
  local python
  [ ! -x .venv/bin/python ] || return 0
  for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    ! "$python" -c 'import ensurepip, venv' 2>/dev/null || return 0
  done
  command -v virtualenv >/dev/null
}

has_postgres() {
  local folder version
  [ -z "${TEST_POSTGRES_URL:-}" ] || return 0
  for folder in /usr/lib/postgresql/*/bin; do
    version=${folder#/usr/lib/postgresql/} version=${version%/bin}
    if [ -x "$folder/initdb" ] && [ "$version" -ge $oldest_postgres ]; then return 0; fi
  done
  return 1
}

has_pgbackrest() { command -v pgbackrest >/dev/null; }

has_redis() { command -v redis-server >/dev/null; }

# What watches the service, and what it asks; the shipped alerts are tried in them.
has_prometheus() { command -v prometheus promtool >/dev/null; }
has_alertmanager() { command -v prometheus-alertmanager >/dev/null; }
has_node_exporter() { command -v prometheus-node-exporter >/dev/null; }
has_postgres_exporter() { command -v prometheus-postgres-exporter >/dev/null; }
has_redis_exporter() { command -v prometheus-redis-exporter >/dev/null; }
has_nginx_exporter() { command -v prometheus-nginx-exporter >/dev/null; }
has_blackbox_exporter() { command -v prometheus-blackbox-exporter >/dev/null; }
has_nginx() { [ -x /usr/sbin/nginx ]; }

# The README's first steps are run as they stand there.
has_curl() { command -v curl >/dev/null; }

has_pgbouncer() { command -v pgbouncer >/dev/null; }
has_dnsmasq() { command -v dnsmasq >/dev/null; }
has_buildah() { command -v buildah >/dev/null; }
has_mmdebstrap() { command -v mmdebstrap >/dev/null; }
has_modsecurity() { [ -e /usr/lib/nginx/modules/ngx_http_modsecurity_module.so ]; }
has_rule_set() { [ -d /usr/share/modsecurity-crs/rules ]; }
has_nft() { command -v nft >/dev/null; }
has_ip() { command -v ip >/dev/null; }
has_openssl() { command -v openssl >/dev/null; }
has_faketime() { command -v faketime >/dev/null; }
has_wrk() { command -v wrk >/dev/null; }
# The database of docker-compose.ha.yml.
has_patroni() { command -v patroni >/dev/null; }
has_python_etcd() { [ -d /usr/lib/python3/dist-packages/etcd ]; }
has_etcd() { command -v etcd >/dev/null; }
has_etcdctl() { command -v etcdctl >/dev/null; }
has_haproxy() { command -v haproxy >/dev/null; }

# A driver of its own comes from PyPI; a browser doesn't.
has_chromium() { command -v chromium >/dev/null; }

# What the tests need: a function that says whether it is there, and Debian's package for it.
needs="
  has_venv      python3-venv
  has_postgres  postgresql
  has_pgbackrest  pgbackrest
  has_redis     redis-server
  has_curl      curl
  has_prometheus         prometheus
  has_alertmanager       prometheus-alertmanager
  has_node_exporter      prometheus-node-exporter
  has_postgres_exporter  prometheus-postgres-exporter
  has_redis_exporter     prometheus-redis-exporter
  has_nginx_exporter     prometheus-nginx-exporter
  has_blackbox_exporter  prometheus-blackbox-exporter
  has_nginx              nginx-light
  has_chromium  chromium
"

if [ "${1:-}" = --stack ]; then
  needs+="
  has_pgbouncer  pgbouncer
  has_dnsmasq    dnsmasq-base
  has_buildah    buildah
  has_mmdebstrap mmdebstrap
  has_ip         iproute2
  has_nft        nftables
  has_modsecurity libnginx-mod-http-modsecurity
  has_rule_set   modsecurity-crs
  has_openssl    openssl
  has_wrk        wrk
  has_patroni    patroni
  has_python_etcd python3-etcd
  has_etcd       etcd-server
  has_etcdctl    etcd-client
  has_haproxy    haproxy
"
fi

if [ "${1:-}" = --chaos ]; then
  needs+="
  has_pgbouncer  pgbouncer
  has_ip         iproute2
  has_nft        nftables
  has_openssl    openssl
  has_faketime   faketime
  has_wrk        wrk
"
fi

if [ "${1:-}" = --bench ]; then
  needs+="
  has_wrk        wrk
"
fi

missing() {
  local is_there package
  while read -r is_there package; do
    [ -z "$is_there" ] || "$is_there" || echo "$package"
  done <<<"$needs"
}

as_root() {
  local status=0 package unit
  log=$(mktemp)
  trap restore EXIT
  install_packages "$@" </dev/null >"$log" 2>&1 || status=$?
  [ $status = 0 ] || { tail -n 40 "$log" >&2; echo "Installing $* failed; above is what apt-get said." >&2; }
  # Nor at the next boot.
  if [ -d /run/systemd/system ]; then
    for package in "$@"; do
      for unit in $(dpkg -L "$package" 2>/dev/null | sed -n 's|.*/systemd/system/\([^/@]*\.service\)$|\1|p'); do
        systemctl disable --quiet "$unit" 2>/dev/null || true
      done
    done
  fi
  return $status
}

policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local apt="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -y -q"
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\n# While the library sets up its tests: start nothing.\nexit 101\n' >$policy
    chmod 755 $policy
    made_policy=yes
  fi
  $apt update
  if [[ " $* " == *" postgresql "* ]]; then
    $apt install --no-install-recommends postgresql-common
    cp -p $clusters $clusters.library
    echo 'create_main_cluster = false' >>$clusters
  fi
  $apt install --no-install-recommends "$@"
}

restore() {
  rm -f "$log"
  [ -z "${made_policy:-}" ] || rm -f $policy
  [ ! -e $clusters.library ] || mv $clusters.library $clusters
}

if [ "${1:-}" = --as-root ]; then
  shift
  as_root "$@"
  exit
fi

mapfile -t packages < <(missing)
[ ${#packages[@]} -gt 0 ] || exit 0
list="${packages[*]}"
instead=""
[[ " $list " != *" postgresql "* ]] || instead=", or give the address of a PostgreSQL $oldest_postgres or newer in TEST_POSTGRES_URL"

if ! command -v apt-get >/dev/null; then
  echo "The tests need $list, and this is no Debian or Ubuntu: install what your system calls so$instead." >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  as_root=(sudo)
else
  echo "The tests need $list: run 'apt-get install $list' as root$instead." >&2
  exit 1
fi
echo "Installing $list for the tests …"
"${as_root[@]}" scripts/setup-servers.sh --as-root "${packages[@]}"
still=$(missing | tr '\n' ' ')
if [ -n "$still" ]; then
  echo "Debian's packages are installed, but ${still}is too old here or not on the PATH$instead." >&2
  exit 1
fi
